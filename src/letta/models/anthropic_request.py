"""Builds a request of Anthropic's messages protocol: thinking, output format, tools, system sections, cache marks.

Knows what each model accepts (`letta.models.anthropic_models`) and what a server refused before; knows nothing about
connections.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from letta.errors import ModelBadRequest
from letta.models import anthropic_models, encoding, names
from letta.models.anthropic_messages import CACHE, Turns
from letta.models.anthropic_models import Abilities
from letta.models.protocol import ModelRequest, ToolSchema

INTERLEAVED = "interleaved-thinking-2025-05-14"
BINDING = "thinking-binding-controls-2026-08-01"
_LEAST_BUDGET = 1024
_USUAL_BUDGET = 8192
_MARKS = 4  # cache marks; the protocol takes no more
_TURN_MARKS = 2  # the newest turn, and the one where the last request put its mark

# What a server can teach: see `letta.models.anthropic.Anthropic`.
ONLY_ADAPTIVE = "only adaptive thinking"
NO_ADAPTIVE = "no adaptive thinking"
NO_SAMPLING = "no temperature"
NO_OFF = "thinking cannot be switched off"
DROP_BOUND = "thinking is bound to its conversation"
NO_THINKING_BACK = "thinking is not taken back"


@dataclass(frozen=True, slots=True)
class Built:
    """The body and the beta features it uses."""

    body: bytes
    betas: tuple[str, ...]


def build(request: ModelRequest, provider: str, learned: Set[str]) -> Built:
    """The request as bytes, `messages` last.

    Raises:
        ModelBadRequest: the model has no way to answer in the wanted format.
    """
    able = anthropic_models.abilities(request.model)
    turns = Turns(request.messages, provider, thinking=NO_THINKING_BACK not in learned)
    thinking = _thinking(request, able, learned, turns)
    kind = (thinking or {}).get("type")
    fields: dict[str, Any] = {
        "model": request.model,
        "max_tokens": _max_tokens(request, able, thinking),
        "stream": True,
    }
    if thinking:
        fields["thinking"] = thinking
    if output := _output(request, able):
        fields["output_config"] = output
    sampling = able.sampling and NO_SAMPLING not in learned and kind not in ("enabled", "adaptive")
    if request.parameters.temperature is not None and sampling:
        fields["temperature"] = request.parameters.temperature
    fields |= request.parameters.extra
    system = _system(request.system)
    if request.tools:
        marks = sum("cache_control" in block for block in system)
        fields["tools"] = _tools(request.tools, able, marked=marks + _TURN_MARKS < _MARKS)
        if choice := _tool_choice(request, able):
            fields["tool_choice"] = choice
    if system:
        fields["system"] = system
    fields.pop("messages", None)
    body = b"".join((encoding.dumps(fields)[:-1], b',"messages":[', turns.encoded(markers=_TURN_MARKS), b"]}"))
    betas = (INTERLEAVED,) if kind == "enabled" and request.tools else ()
    return Built(body, (*betas, BINDING) if "block_binding" in (thinking or {}) else betas)


def _system(sections: tuple[str, ...]) -> list[dict[str, Any]]:
    """The system prompt, marked at the end of its most stable section and at its end.

    So an edit of memory, which stands further down, leaves the first mark valid.
    """
    blocks: list[dict[str, Any]] = [{"type": "text", "text": section} for section in sections if section.strip()]
    for block in blocks[:1] + blocks[-1:]:
        block["cache_control"] = CACHE
    return blocks


def _thinking(request: ModelRequest, able: Abilities, learned: Set[str], turns: Turns) -> dict[str, Any] | None:
    wanted, budget = request.parameters.thinking, request.parameters.thinking_budget
    if wanted is False or request.parameters.effort == "none":
        return {"type": able.off} if able.adaptive and able.off and NO_OFF not in learned else None
    adaptive = (able.adaptive or ONLY_ADAPTIVE in learned) and NO_ADAPTIVE not in learned
    by_budget = able.budget and ONLY_ADAPTIVE not in learned
    on = wanted or budget is not None
    if on and by_budget and (budget is not None or not adaptive):
        if _forced(request) or turns.resumes_without_thinking:
            return None  # neither is accepted together with a budget
        return {"type": "enabled", "budget_tokens": max(_LEAST_BUDGET, budget or _USUAL_BUDGET)}
    bound = able.bound_thinking or DROP_BOUND in learned
    if not (adaptive or bound) or not (on or bound or able.thinks):
        return None
    thinking: dict[str, Any] = {"type": "adaptive"}
    if not by_budget:
        thinking["display"] = "summarized"  # these models show nothing by default
    if bound:
        # The prompt holds the agent's memory and changes: earlier thinking is then dropped rather than refused.
        thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return thinking


def _max_tokens(request: ModelRequest, able: Abilities, thinking: dict[str, Any] | None) -> int:
    """The output limit, which includes thinking: a budget that fills it is put on top."""
    wanted = request.parameters.max_output_tokens or able.max_output
    budget = int((thinking or {}).get("budget_tokens", 0))
    return wanted + budget if budget >= wanted else wanted


def _output(request: ModelRequest, able: Abilities) -> dict[str, Any]:
    output: dict[str, Any] = {}
    effort = request.parameters.effort
    if effort and effort != "none" and able.effort:
        output["effort"] = "low" if effort == "minimal" else effort
    response_format = request.parameters.response_format or {"type": "text"}
    if response_format["type"] == "json_object":
        raise ModelBadRequest(
            f"{request.model} has no JSON mode without a schema: use response_format "
            '{"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}'
        )
    if response_format["type"] == "json_schema":
        if able.output_format is False:
            raise ModelBadRequest(
                f"{request.model} cannot answer by a JSON schema (response_format): "
                "Claude Opus 4.1, Sonnet 4.5, Haiku 4.5 and later can"
            )
        given = response_format.get("json_schema") or {}
        output["format"] = {"type": "json_schema", "schema": _closed(given.get("schema", given))}
    return output


def _closed(schema: Any) -> Any:
    """The schema with every object closed to further properties, as the protocol demands."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _tools(tools: tuple[ToolSchema, ...], able: Abilities, *, marked: bool) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for tool in tools:
        entry = {"name": names.tool_name(tool.name), "description": tool.description, "input_schema": tool.parameters}
        out.append({**entry, "strict": True} if tool.strict and able.output_format else entry)
    if marked:
        out[-1]["cache_control"] = CACHE
    return out


def _forced(request: ModelRequest) -> bool:
    return bool(request.tools) and request.tool_choice not in ("auto", "none")


def _tool_choice(request: ModelRequest, able: Abilities) -> dict[str, Any] | None:
    one = request.parameters.parallel_tool_calls is False
    if request.tool_choice == "none":
        return {"type": "none"}
    if not _forced(request) or not able.forced_tools:  # some models refuse to be forced; the loop checks what they do
        return {"type": "auto", "disable_parallel_tool_use": True} if one else None
    if request.tool_choice == "required":
        choice = {"type": "any"}
    else:
        choice = {"type": "tool", "name": names.tool_name(request.tool_choice)}
    return {**choice, "disable_parallel_tool_use": True} if one else choice
