"""From a window to a model request: the prompt, the messages, the tools that may be called, the parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter
from pydantic_core import to_json

from letta.memory.prompt import PromptFacts, compile_prompt
from letta.memory.window import Window
from letta.models.protocol import ModelParameters, ModelRequest
from letta.models.provider import Resolved
from letta.models.registry import Registry
from letta.runtime.styles import Style, style_of
from letta.schemas.agents import AgentState
from letta.schemas.messages import Message, Role
from letta.schemas.model_settings import ModelSettings
from letta.schemas.sends import SendRequest
from letta.tools.context import ErrandRunner
from letta.tools.rules import RuleBook
from letta.tools.toolbox import Toolbox

_SETTINGS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
# A tool's result may fill a fifth of the window, and always this many characters.
_LEAST_CLAMP, _CLAMP_SHARE, _CHARACTERS_PER_TOKEN = 5_000, 0.2, 4
_KNOWN = frozenset(ModelParameters.__slots__) | {
    "provider_type", "reasoning", "thinking", "thinking_config", "response_schema", "strict", "max_output_tokens",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """A model request, and what carries out its answer: of more calls than one only the first where `one_by_one`."""

    request: ModelRequest
    resolved: Resolved
    toolbox: Toolbox
    style: Style
    one_by_one: bool = False


def resolve(registry: Registry, window: Window, request: SendRequest) -> Resolved:
    """The model of this request: the request's own, else the conversation's, else the agent's.

    Raises:
        letta.errors.NotFound, letta.errors.InvalidRequest: as `Registry.resolve`.
    """
    handle = request.override_model or window.thread.model or window.agent.model
    return registry.resolve(handle or registry.default_handle())


def toolbox_of(window: Window, request: SendRequest, runners: Mapping[str, ErrandRunner]) -> Toolbox:
    """The tools of a request: the agent's own and those that live in the client."""
    return Toolbox(window.agent.tools, request.client_tools or (), runners)


def build(
    window: Window,
    request: SendRequest,
    inputs: tuple[Message, ...],
    rules: RuleBook,
    resolved: Resolved,
    toolbox: Toolbox,
    shape: dict[str, Any] | None = None,
) -> Call:
    """The next model call of a run. `inputs` are messages not stored yet, `shape` the response format of this run."""
    agent = window.agent
    style = style_of(agent.agent_type)
    permission = rules.permitted(toolbox.names)
    offered = [schema for schema in toolbox.schemas if schema.name in permission.names]
    parameters = parameters_of(agent, window.thread.model_settings, parallel=rules.only_approvals)
    if shape is not None:
        parameters = replace(parameters, response_format=shape)
    answer = _answer_schema(parameters) if style.name == "heartbeat" else None
    if answer is not None:
        # The reply is a tool's argument: its shape goes there.
        parameters = replace(parameters, response_format=None)
    reasons = bool(parameters.thinking or parameters.effort not in (None, "none"))
    zone = zone_of(agent)
    clamp = clamp_of(limit_of(window, resolved))
    return Call(
        ModelRequest(
            model=resolved.name,
            handle=resolved.handle,
            system=compile_prompt(agent, prompt_facts(window, request)),
            # What a person or client answered stands in the results that follow it.
            messages=[
                _shown(window, message, style, zone, clamp)
                for message in (*window.messages, *inputs)
                if message.role is not Role.APPROVAL
            ],
            tools=style.tools(offered, reasons=reasons, answer=answer),
            tool_choice=_choice(permission.required, permission.names),
            parameters=parameters,
        ),
        resolved,
        toolbox,
        style,
        one_by_one=not rules.only_approvals or _wants_parallel(agent, window.thread.model_settings) is False,
    )


def clamp_of(limit: int) -> int:
    """The characters of a tool's result that a model is shown, whose prompt may have `limit` tokens."""
    return max(_LEAST_CLAMP, int(limit * _CLAMP_SHARE * _CHARACTERS_PER_TOKEN))


def limit_of(window: Window, resolved: Resolved) -> int:
    """The tokens a prompt may have: the model's window, or less where the agent or conversation says so."""
    own = window.thread.context_window_limit
    if own is None and resolved.handle == window.agent.model:
        own = window.agent.llm_config.context_window
    return min(own or resolved.context_window, resolved.context_window)


def fixed_texts(call: Call) -> list[str]:
    """What of a request is no message: the prompt and the tools."""
    return [*call.request.system, to_json([tool.parameters for tool in call.request.tools]).decode()]


def _shown(window: Window, message: Message, style: Style, zone: ZoneInfo, clamp: int) -> Message:
    """A message as the model gets it: long results cut, summaries introduced as such."""
    if message.role is Role.SUMMARY:
        return window.introduced(message)
    return style.show(window.clamped(message, clamp), zone)


def prompt_facts(window: Window, request: SendRequest | None = None) -> PromptFacts:
    """What the prompt says about this conversation and request."""
    return PromptFacts(
        conversation_id=window.thread.id,
        hidden_messages=max(0, window.thread.window_start - 1),
        skills=tuple(request.client_skills or ()) if request else (),
        override=request.override_system if request else None,
        line_numbers=window.agent.llm_config.model_endpoint_type == "anthropic",
    )


@lru_cache(maxsize=128)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def zone_of(agent: AgentState) -> ZoneInfo:
    """The agent's time zone, UTC if it has none."""
    return _zone(agent.timezone or "UTC")


def _choice(required: bool, names: tuple[str, ...]) -> str:
    if not required:
        return "auto"
    return names[0] if len(names) == 1 else "required"


def parameters_of(agent: AgentState, override: dict[str, Any] | None, *, parallel: bool) -> ModelParameters:
    """The sampling options of an agent: the conversation's settings over the agent's over the older long form."""
    config = agent.llm_config
    settings = _SETTINGS.validate_python(override) if override else agent.model_settings
    own = settings.model_dump(exclude_none=True) if settings else {}
    answer_format = (settings.answer_format if settings else None) or agent.response_format
    return ModelParameters(
        temperature=own.get("temperature", config.temperature),
        max_output_tokens=own.get("max_output_tokens", config.max_tokens),
        parallel_tool_calls=bool(_wants_parallel(agent, override)) and parallel,
        thinking=(settings.thinking_enabled if settings else None) or config.enable_reasoner,
        thinking_budget=(settings.thinking_budget if settings else None) or config.max_reasoning_tokens or None,
        effort=(settings.wanted_effort if settings else None) or config.reasoning_effort or config.effort,
        verbosity=own.get("verbosity", config.verbosity),
        frequency_penalty=own.get("frequency_penalty", config.frequency_penalty),
        response_format=_format(answer_format),
        extra={name: value for name, value in own.items() if name not in _KNOWN},
    )


def _wants_parallel(agent: AgentState, override: dict[str, Any] | None) -> bool | None:
    """Whether the model may make several calls in one answer; None where nobody said so."""
    settings = override if override else agent.model_settings
    own = settings if settings is None or isinstance(settings, dict) else settings.model_dump(exclude_none=True)
    wanted: bool | None = (own or {}).get("parallel_tool_calls")
    return agent.llm_config.parallel_tool_calls if wanted is None else wanted


def _answer_schema(parameters: ModelParameters) -> dict[str, Any] | None:
    """The JSON Schema an answer has to fit."""
    wanted = parameters.response_format or {}
    inner = wanted.get("json_schema") or {}
    found: dict[str, Any] | None = inner.get("schema", inner) or ({"type": "object"} if wanted else None)
    return found


def _format(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    found: dict[str, Any] = value if isinstance(value, dict) else value.model_dump()
    return None if found.get("type") == "text" else found
