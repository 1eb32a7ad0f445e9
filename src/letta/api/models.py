"""Models: `/v1/models`."""

import asyncio
from typing import Annotated, Any

from fastapi import Query

from letta.api import routes
from letta.api.context import Parts, Server, reply
from letta.schemas.llm_config import ProviderCategory
from letta.schemas.models import EmbeddingModel, Model
from letta.schemas.providers import ProviderType

router = routes.router(prefix="/v1/models", tags=["models"])

Anew = Annotated[bool, Query(description="Ask every provider now, not the lists of the last ten minutes")]


@router.get("", response_model=list[Model])
async def list_models(
    parts: Parts,
    provider_category: Annotated[list[ProviderCategory] | None, Query()] = None,
    provider_name: str | None = None,
    provider_type: ProviderType | None = None,
    bypass: Anew = False,
) -> Any:
    """Models an agent can use. A provider that fails is left out."""
    if bypass:
        await _ask_all(parts)
    found = await parts.registry.models()
    return reply(
        [
            model
            for model in found
            if (not provider_category or model.provider_category in provider_category)
            and (provider_name is None or model.provider_name == provider_name)
            and (provider_type is None or model.provider_type == provider_type)
        ]
    )


@router.get("/embedding", response_model=list[EmbeddingModel])
async def list_embedding_models(parts: Parts, bypass: Anew = False) -> Any:
    """Embedding models whose vector length is known."""
    if bypass:
        await _ask_all(parts)
    return reply(await parts.embeddings.models())


@router.get("/embeddings", response_model=list[EmbeddingModel], deprecated=True)
async def list_embedding_models_older(parts: Parts) -> Any:
    """The older name of `/v1/models/embedding`."""
    return reply(await parts.embeddings.models())


async def _ask_all(parts: Server) -> None:
    names = [config.name for config in parts.registry.providers()]
    # A provider that fails keeps its error for `letta doctor` and must not break the list.
    await asyncio.gather(*(parts.registry.refresh(name) for name in names), return_exceptions=True)
