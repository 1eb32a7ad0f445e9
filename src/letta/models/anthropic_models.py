"""What Anthropic's models accept, told from their names. Facts: platform.claude.com, models and thinking pages.

Pure data with one reader; knows nothing about requests. A name that is not understood gets the oldest common ground,
and what its server refuses is learned by `letta.models.anthropic`.
"""

import re
from dataclasses import dataclass
from typing import Literal

_NAME = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_OLD_NAME = re.compile(r"claude-(\d)(?:[-.](\d))?(?!\d)")
_NEVER = (99, 0)

# The first version of each family with an ability; a family that is not listed has it in all versions.
_ADAPTIVE = {"opus": (4, 6), "sonnet": (4, 6), "haiku": (5, 0), "": _NEVER}
_NO_BUDGET = {"opus": (4, 7), "sonnet": (5, 0), "haiku": (5, 0), "": _NEVER}
_EFFORT = {"opus": (4, 5), "sonnet": (4, 6), "haiku": (5, 0), "": _NEVER}
_FORMAT = {"opus": (4, 1), "sonnet": (4, 5), "haiku": (4, 5), "": _NEVER}
_NOT_FORCED = {"opus": (5, 5), "sonnet": (5, 5), "haiku": _NEVER, "fable": (5, 1), "mythos": (5, 1), "": _NEVER}
_BOUND = {"opus": (5, 5), "sonnet": (5, 5), "haiku": (5, 5), "fable": (5, 1), "mythos": (5, 1), "": _NEVER}
_ALWAYS_THINKS = {"opus": (5, 5), "sonnet": _NEVER, "haiku": _NEVER, "": _NEVER}
_MAX_OUTPUT = (((4, 5), 64_000), ((4, 0), 16_000), ((3, 5), 8_192), ((0, 0), 4_096))


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model takes.

    `adaptive`: `thinking: {"type": "adaptive"}`. `budget`: thinking with a token budget. `sampling`: temperature.
    `effort`: `output_config.effort`. `output_format`: answers that follow a JSON schema, and strict tools; None if
    the name is unknown. `forced_tools`: tool choices other than auto and none. `bound_thinking`: thinking is valid
    only after the same prompt, tools and messages. `off`: the word that switches thinking off, None if nothing does.
    `thinks`: thinks unless told not to. `max_output`: tokens asked for when the request names no limit.
    """

    adaptive: bool
    budget: bool
    sampling: bool
    effort: bool
    output_format: bool | None
    forced_tools: bool
    bound_thinking: bool
    thinks: bool
    off: Literal["disabled", "between_tools"] | None
    max_output: int


def abilities(model: str) -> Abilities:
    """What `model` takes, by its name."""
    family, version = _parse(model)

    def since(table: dict[str, tuple[int, int]]) -> bool:
        return version >= table.get(family, (0, 0))

    between = family == "sonnet" and version >= (5, 5)
    return Abilities(
        adaptive=since(_ADAPTIVE),
        budget=not since(_NO_BUDGET),
        sampling=not since(_NO_BUDGET),
        effort=since(_EFFORT),
        output_format=since(_FORMAT) if family or version != _UNKNOWN else None,
        forced_tools=not since(_NOT_FORCED),
        bound_thinking=since(_BOUND),
        thinks=family != "" and version >= (5, 0),
        off=None if since(_ALWAYS_THINKS) else "between_tools" if between else "disabled",
        max_output=next(limit for first, limit in _MAX_OUTPUT if version >= first),
    )


_UNKNOWN = (3, 5)


def _parse(model: str) -> tuple[str, tuple[int, int]]:
    """Family and version. An unknown name has no family and counts as 3.5."""
    if found := _NAME.search(model):
        return found[1], (int(found[2]), int(found[3] or 0))
    if found := _OLD_NAME.search(model):
        return "", (int(found[1]), int(found[2] or 0))
    return "", _UNKNOWN
