"""How servers with the OpenAI chat protocol differ from each other, as data.

Knows nothing about requests in flight. A server that is not listed is taken to behave like the protocol says; what a
server refuses at run time is learned by `letta.models.openai_chat`.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from letta.models.protocol import ModelParameters

_VERSION = re.compile(r"[^:/]/(.*/)?v\d+[a-z0-9]*(/|$)")
_REASONING_MODEL = re.compile(r"(o\d|gpt-(5(?!-chat)|[6-9]|[1-9]\d))", re.IGNORECASE)
# These answer without reasoning unless an effort is given, and only then take sampling options.
_REASONS_ON_REQUEST = re.compile(r"gpt-5\.[1-4](?!.*(-chat|-codex|-pro))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quirks:
    """What one kind of server does its own way.

    `thinking` names the wire form of the thinking switch: `effort` (only `reasoning_effort` exists), `object`
    (`thinking: {type}`), `openrouter` (`reasoning: {...}`), `template` (`chat_template_kwargs`) or `ollama` (effort
    `none` switches it off). `reasoning_back` says whose reasoning is sent back: `always` or `tool_turns` (only in turns
    with tool calls, there even when empty). `call_id` is what the server accepts as an id of a call. `listing` names
    the endpoint that knows context windows. `local` servers run a chat template that insists on taking turns.
    """

    thinking: Literal["effort", "object", "openrouter", "template", "ollama"] = "effort"
    reasoning_back: Literal["always", "tool_turns"] = "always"
    call_id: re.Pattern[str] = re.compile(r"[^\s]{1,128}")
    stream_options: bool = True
    strict_tools: bool = True
    listing: Literal["openai", "ollama", "lmstudio", "llamacpp"] = "openai"
    local: bool = False


DEFAULT = Quirks()
QUIRKS: dict[str, Quirks] = {
    "openai": Quirks(call_id=re.compile(r"[^\s]{1,40}")),
    "azure": Quirks(call_id=re.compile(r"[^\s]{1,40}")),
    "ollama": Quirks(thinking="ollama", strict_tools=False, listing="ollama", local=True),
    "lmstudio": Quirks(strict_tools=False, listing="lmstudio", local=True),
    "lmstudio_openai": Quirks(strict_tools=False, listing="lmstudio", local=True),
    "llamacpp": Quirks(thinking="template", strict_tools=False, listing="llamacpp", local=True),
    "vllm": Quirks(thinking="template", local=True),
    "sglang": Quirks(thinking="template", local=True),
    "openrouter": Quirks(thinking="openrouter"),
    # In turns with tool calls the field is demanded, elsewhere unused: api-docs.deepseek.com/guides/thinking_mode
    "deepseek": Quirks(thinking="object", reasoning_back="tool_turns", strict_tools=False),
    "zai": Quirks(thinking="object"),
    "zai_coding": Quirks(thinking="object"),
    "moonshot": Quirks(thinking="object"),
    "moonshot_coding": Quirks(thinking="object"),
    "mistral": Quirks(call_id=re.compile(r"[a-zA-Z0-9]{9}"), stream_options=False),
}


def of(provider: str) -> Quirks:
    """The quirks of a kind of server."""
    return QUIRKS.get(provider, DEFAULT)


def base_url(url: str) -> str:
    """`url` as requests are built on it: without a trailing slash or endpoint, with `/v1` where no version is named."""
    url = url.strip()
    if "://" not in url:
        url = f"http://{url}"
    url = url.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return url if _VERSION.search(url) else f"{url}/v1"


def root(base: str) -> str:
    """The address of the server itself, for endpoints beside the OpenAI ones."""
    return re.sub(r"(/api)?/v\d+[a-z0-9]*$", "", base)


def options(quirks: Quirks, model: str, parameters: ModelParameters, has_tools: bool) -> dict[str, Any]:
    """The request fields that `parameters` become for `model`."""
    fields: dict[str, Any] = {
        "temperature": parameters.temperature,
        "frequency_penalty": parameters.frequency_penalty,
        "verbosity": parameters.verbosity,
        "response_format": parameters.response_format,
        "parallel_tool_calls": parameters.parallel_tool_calls if has_tools else None,
        **_thinking(quirks, parameters),
    }
    reasoning = bool(_REASONING_MODEL.match(model.rpartition("/")[2]))
    fields["max_completion_tokens" if reasoning else "max_tokens"] = parameters.max_output_tokens
    if reasoning and not _samples(model, parameters.effort):
        fields["temperature"] = fields["frequency_penalty"] = None
    if (parameters.response_format or {}).get("type") == "text":
        fields["response_format"] = None
    return {name: value for name, value in fields.items() if value is not None} | parameters.extra


def _samples(model: str, effort: str | None) -> bool:
    return effort == "none" or (effort is None and bool(_REASONS_ON_REQUEST.search(model)))


def _thinking(quirks: Quirks, parameters: ModelParameters) -> dict[str, Any]:
    on, effort = parameters.thinking, parameters.effort
    match quirks.thinking:
        case "object":
            switch = None if on is None else {"type": "enabled" if on else "disabled"}
            return {"thinking": switch, "reasoning_effort": effort}
        case "openrouter":
            return {"reasoning": _openrouter(parameters) or None}
        case "template":
            return {
                "chat_template_kwargs": None if on is None else {"enable_thinking": on},
                "reasoning_effort": effort,
            }
        case "ollama":
            return {"reasoning_effort": "none" if on is False else effort}
    return {"reasoning_effort": effort}


def _openrouter(parameters: ModelParameters) -> dict[str, Any]:
    if parameters.thinking is False:
        return {"enabled": False}
    if parameters.effort:
        return {"effort": parameters.effort}
    if parameters.thinking_budget:
        return {"max_tokens": parameters.thinking_budget}
    return {"enabled": True} if parameters.thinking else {}
