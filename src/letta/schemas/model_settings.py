"""Settings of a model, a union told apart by `provider_type`.

Knows which settings each provider has a name for. Tolerant: a provider we have no class for keeps its settings as
they came. Knows nothing of how a setting is put into a provider's request.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, SerializerFunctionWrapHandler, Tag, model_serializer

from letta.schemas.common import Size, Wire
from letta.schemas.llm_config import Effort, ReasoningEffort, Verbosity
from letta.schemas.response_format import RESPONSE_FORMATS, ResponseFormat


class Reasoning(Wire):
    """How hard a reasoning model thinks."""

    reasoning_effort: ReasoningEffort | None = None


class ChatGPTReasoning(Wire):
    """How hard a reasoning model thinks, in the words of the ChatGPT backend."""

    reasoning_effort: Literal["none", "low", "medium", "high", "xhigh"] | None = None


class Thinking(Wire):
    """Extended thinking of Anthropic's protocol; `budget_tokens` bounds it."""

    type: Literal["enabled", "disabled"] | None = None
    budget_tokens: int | None = None


class ZaiThinking(Wire):
    """Thinking of GLM models; without `clear_thinking` earlier thinking stays in the context."""

    type: Literal["enabled", "disabled"] | None = None
    clear_thinking: bool | None = None


class ThinkingConfig(Wire):
    """Thinking of Gemini models; `thinking_budget` is in tokens."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None


class ModelSettingsBase(Wire):
    """What every provider has. None leaves the choice to the provider. The properties read alike for all of them."""

    model_config = ConfigDict(extra="allow")

    provider_type: str | None = None
    temperature: float | None = None
    max_output_tokens: Size | None = None
    parallel_tool_calls: bool | None = None

    def _value(self, name: str) -> Any:
        """A setting by name, declared or not; None where this provider has no such setting."""
        if name in type(self).model_fields:
            return getattr(self, name)
        return (self.model_extra or {}).get(name)

    def _inner(self, name: str, key: str) -> Any:
        value = self._value(name)
        return value.get(key) if isinstance(value, dict) else getattr(value, key, None)

    @property
    def answer_format(self) -> ResponseFormat | None:
        """The wanted form of the answer, whatever this provider calls the setting."""
        found = self._value("response_format") or self._value("response_schema")
        return found if isinstance(found, RESPONSE_FORMATS) else None

    @property
    def wanted_effort(self) -> str | None:
        """The effort of reasoning by name (`none` to `max`), or None."""
        found = self._inner("reasoning", "reasoning_effort") or self._value("effort")
        return found if isinstance(found, str) else None

    @property
    def thinking_enabled(self) -> bool | None:
        """Whether thinking was switched on or off by name; None if neither."""
        shown = self._inner("thinking_config", "include_thoughts")
        kind = self._inner("thinking", "type")
        return shown if isinstance(shown, bool) else {"enabled": True, "disabled": False}.get(str(kind))

    @property
    def thinking_budget(self) -> int | None:
        """Tokens allowed for thinking, or None."""
        found = self._inner("thinking", "budget_tokens") or self._inner("thinking_config", "thinking_budget")
        return found if isinstance(found, int) else None


class _Formatted(ModelSettingsBase):
    response_format: ResponseFormat | None = None


class OpenAIModelSettings(_Formatted):
    provider_type: Literal["openai"] = "openai"
    reasoning: Reasoning | None = None
    strict: bool | None = None


class SGLangModelSettings(_Formatted):
    provider_type: Literal["sglang"] = "sglang"
    reasoning: Reasoning | None = None
    strict: bool | None = None
    tool_call_parser: str | None = None


class AnthropicModelSettings(_Formatted):
    provider_type: Literal["anthropic"] = "anthropic"
    thinking: Thinking | None = None
    effort: Effort | None = None
    verbosity: Verbosity | None = None
    strict: bool | None = None


class MoonshotCodingModelSettings(_Formatted):
    provider_type: Literal["moonshot_coding"] = "moonshot_coding"
    thinking: Thinking | None = None
    effort: Effort | None = None
    verbosity: Verbosity | None = None
    strict: bool | None = None


class GoogleAIModelSettings(ModelSettingsBase):
    provider_type: Literal["google_ai"] = "google_ai"
    response_schema: ResponseFormat | None = None
    thinking_config: ThinkingConfig | None = None


class GoogleVertexModelSettings(ModelSettingsBase):
    provider_type: Literal["google_vertex"] = "google_vertex"
    response_schema: ResponseFormat | None = None
    thinking_config: ThinkingConfig | None = None


class ZaiModelSettings(_Formatted):
    provider_type: Literal["zai"] = "zai"
    thinking: ZaiThinking | None = None


class MoonshotModelSettings(_Formatted):
    provider_type: Literal["moonshot"] = "moonshot"
    strict: bool | None = None


class AzureModelSettings(_Formatted):
    provider_type: Literal["azure"] = "azure"


class BedrockModelSettings(_Formatted):
    provider_type: Literal["bedrock"] = "bedrock"


class DeepseekModelSettings(_Formatted):
    provider_type: Literal["deepseek"] = "deepseek"


class GroqModelSettings(_Formatted):
    provider_type: Literal["groq"] = "groq"


class OpenRouterModelSettings(_Formatted):
    provider_type: Literal["openrouter"] = "openrouter"


class TogetherModelSettings(_Formatted):
    provider_type: Literal["together"] = "together"


class XAIModelSettings(_Formatted):
    provider_type: Literal["xai"] = "xai"


class BasetenModelSettings(ModelSettingsBase):
    provider_type: Literal["baseten"] = "baseten"


class ChatGPTOAuthModelSettings(ModelSettingsBase):
    provider_type: Literal["chatgpt_oauth"] = "chatgpt_oauth"
    reasoning: ChatGPTReasoning | None = None


class OtherModelSettings(ModelSettingsBase):
    """Settings of a provider without a class of its own, or of none named: what came in goes out, no more."""

    @model_serializer(mode="wrap")
    def _as_it_came(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        sent = self.model_fields_set
        return {key: value for key, value in handler(self).items() if key in sent}


_NAMED = frozenset(
    {
        "openai", "sglang", "anthropic", "moonshot_coding", "google_ai", "google_vertex", "zai", "moonshot", "azure",
        "bedrock", "deepseek", "groq", "openrouter", "together", "xai", "baseten", "chatgpt_oauth",
    }
)  # fmt: skip


def _provider_of(value: Any) -> str:
    provider = value.get("provider_type") if isinstance(value, dict) else getattr(value, "provider_type", None)
    return provider if isinstance(provider, str) and provider in _NAMED else "other"


ModelSettings = Annotated[
    Annotated[OpenAIModelSettings, Tag("openai")]
    | Annotated[SGLangModelSettings, Tag("sglang")]
    | Annotated[AnthropicModelSettings, Tag("anthropic")]
    | Annotated[MoonshotCodingModelSettings, Tag("moonshot_coding")]
    | Annotated[GoogleAIModelSettings, Tag("google_ai")]
    | Annotated[GoogleVertexModelSettings, Tag("google_vertex")]
    | Annotated[ZaiModelSettings, Tag("zai")]
    | Annotated[MoonshotModelSettings, Tag("moonshot")]
    | Annotated[AzureModelSettings, Tag("azure")]
    | Annotated[BedrockModelSettings, Tag("bedrock")]
    | Annotated[DeepseekModelSettings, Tag("deepseek")]
    | Annotated[GroqModelSettings, Tag("groq")]
    | Annotated[OpenRouterModelSettings, Tag("openrouter")]
    | Annotated[TogetherModelSettings, Tag("together")]
    | Annotated[XAIModelSettings, Tag("xai")]
    | Annotated[BasetenModelSettings, Tag("baseten")]
    | Annotated[ChatGPTOAuthModelSettings, Tag("chatgpt_oauth")]
    | Annotated[OtherModelSettings, Tag("other")],
    Discriminator(_provider_of),
]
