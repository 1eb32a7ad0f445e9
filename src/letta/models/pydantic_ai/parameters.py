"""Model parameters as pydantic-ai's settings and request parameters.

Knows what each kind of provider calls things. What a model cannot do is left out here, so that nothing has to be warned
about later.
"""

from collections.abc import Mapping
from typing import Any, cast, get_args

from pydantic_ai.messages import InstructionPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles.openai import SAMPLING_PARAMS
from pydantic_ai.settings import ModelSettings, ThinkingEffort
from pydantic_ai.tools import ToolDefinition

from letta.errors import ModelBadRequest
from letta.models import names
from letta.models.protocol import ModelParameters, ModelRequest

_EFFORTS = frozenset(get_args(ThinkingEffort))
_OWN_PREFIXES = ("openai_", "google_", "bedrock_", "mistral_", "cohere_")
_JSON_ONLY = "Answer with one JSON object and nothing else."


def request_parameters(request: ModelRequest, model: Model[Any]) -> ModelRequestParameters:
    """Tools, system prompt and output form. The system prompt's last section is the one that changes most."""
    sections = [section for section in request.system if section]
    last = len(sections) - 1
    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=names.tool_name(tool.name),
                description=tool.description,
                parameters_json_schema=tool.parameters,
                strict=tool.strict,
            )
            for tool in request.tools
        ],
        instruction_parts=[
            InstructionPart(content=section, dynamic=0 < number == last) for number, section in enumerate(sections)
        ],
        **_output(request, model),
    )


def settings(request: ModelRequest, model: Model[Any], kind: str) -> ModelSettings:
    """Sampling and output settings. Retries are ours: the SDK makes one attempt."""
    parameters = request.parameters
    found: dict[str, Any] = {
        "max_tokens": parameters.max_output_tokens,
        "frequency_penalty": parameters.frequency_penalty,
        "temperature": parameters.temperature,
        **_thinking(parameters, kind),
    }
    if request.tools:
        found["parallel_tool_calls"] = (
            None if kind.startswith(("google", "bedrock", "cohere")) else parameters.parallel_tool_calls
        )
        found["tool_choice"] = _tool_choice(request.tool_choice)
    if kind.endswith("responses"):
        found["openai_store"] = False
    if kind.startswith(("openai", "azure")):
        found["openai_text_verbosity"] = parameters.verbosity
    if kind not in ("bedrock", "cohere", "mistral"):
        found["max_retries"] = 0
    found |= _extra(parameters.extra)
    if _reasons(model.profile, parameters):
        found = {name: value for name, value in found.items() if name not in SAMPLING_PARAMS}
    return cast(ModelSettings, {name: value for name, value in found.items() if value is not None})


def _tool_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return None if choice == "auto" else choice
    return [names.tool_name(choice)]


def _thinking(parameters: ModelParameters, kind: str) -> dict[str, Any]:
    effort = parameters.effort
    level: bool | str | None = effort if effort in _EFFORTS else parameters.thinking
    if parameters.thinking is False or effort == "none":
        return {"thinking": False}
    if level is None and parameters.thinking_budget is None:
        return {}
    if kind.startswith("google") and parameters.thinking_budget is not None and effort not in _EFFORTS:
        return {"google_thinking_config": {"include_thoughts": True, "thinking_budget": parameters.thinking_budget}}
    found: dict[str, Any] = {"thinking": True if level is None else level}
    if kind.endswith("responses"):
        found["openai_reasoning_summary"] = "auto"
    return found


def _reasons(profile: Mapping[str, Any], parameters: ModelParameters) -> bool:
    """Will this model reason, and therefore take no sampling settings?"""
    if not profile.get("openai_supports_reasoning"):
        return False
    if not profile.get("openai_supports_reasoning_effort_none"):
        return True
    if parameters.thinking is False or parameters.effort == "none":
        return False
    asked = parameters.thinking or parameters.effort or parameters.thinking_budget
    return bool(asked or profile.get("thinking_enabled_by_default"))


def _output(request: ModelRequest, model: Model[Any]) -> dict[str, Any]:
    wanted = request.parameters.response_format or {}
    kind = wanted.get("type", "text")
    if kind == "text":
        return {}
    if kind == "json_object":
        anything = OutputObjectDefinition(json_schema={"type": "object"})
        return {"output_mode": "prompted", "output_object": anything, "prompted_output_template": _JSON_ONLY}
    holder = wanted.get("json_schema") or {}
    schema = holder.get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise ModelBadRequest(
            "response_format must be text, json_object, or json_schema with an object in json_schema.schema."
        )
    definition = OutputObjectDefinition(
        json_schema=schema,
        # Google would find the name inside the schema, as its title.
        name=None if model.canonical_system.startswith("google") else holder.get("name"),
        description=holder.get("description"),
        strict=holder.get("strict"),
    )
    return {"output_mode": _schema_mode(request, model), "output_object": definition}


def _schema_mode(request: ModelRequest, model: Model[Any]) -> str:
    """`native` where the API enforces a schema, else `prompted`: the model is told the schema."""
    profile: Mapping[str, Any] = model.profile
    native = profile.get("supports_json_schema_output", False)
    if native and request.tools and model.canonical_system.startswith("google"):
        native = profile.get("google_supports_tool_combination", False)
    return "native" if native else "prompted"


def _extra(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Settings pydantic-ai has a name for go under it; anything else is put into the request body as it is."""
    known = {
        name: value
        for name, value in extra.items()
        if name in ModelSettings.__annotations__ or name.startswith(_OWN_PREFIXES)
    }
    rest = {name: value for name, value in extra.items() if name not in known}
    return known | ({"extra_body": rest} if rest else {})
