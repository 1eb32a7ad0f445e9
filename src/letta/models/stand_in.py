"""The built-in model, under its own name and under those of models that it stands in for.

Knows nothing of providers that are configured.
"""

from collections.abc import Mapping
from typing import Any, cast

from letta.models import catalog
from letta.models.kinds import SCRIPTED, canonical, load
from letta.models.protocol import Model, ModelCard
from letta.models.provider import Provider, ProviderConfig, Resolved

SCRIPTED_HANDLE = "letta/scripted"
MOST_KEPT = 1_000
"""Handles the built-in model stands in for that are kept ready."""

_CARD = ModelCard("scripted", context_window=128_000, display_name="Scripted (rule-based, built in)")


class StandIn:
    """One built-in model for every handle it is asked for; made on demand when none is given."""

    def __init__(self, model: Model | None = None) -> None:
        self._model = model
        self._kept: dict[str, Resolved] = {}

    def resolve(self, prefix: str, name: str) -> Resolved:
        """The built-in model, called `prefix/name`, with the sizes of the model that usually has this name."""
        handle = f"{prefix}/{name}"
        if (found := self._kept.get(handle)) is None:
            provider = Provider(ProviderConfig(name=prefix, type=canonical(prefix)), SCRIPTED, self._make)
            if handle == SCRIPTED_HANDLE:
                provider.learn([_CARD])
            elif catalog.known(name) is None:
                # Where nobody knows the model's window, the built-in model's own is the honest one.
                provider.learn([ModelCard(name, context_window=_CARD.context_window)])
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[handle] = provider.resolve(name)
        return found

    async def aclose(self) -> None:
        """Close the model, where there is one."""
        if self._model is not None:
            await self._model.aclose()

    def _make(self, config: ProviderConfig, target: str, arguments: Mapping[str, Any]) -> Model:
        if self._model is None:
            self._model = cast(Model, load(target)(**arguments))
        return self._model
