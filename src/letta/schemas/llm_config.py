"""The long, deprecated forms of a model choice, which answers must still carry and old requests still send.

Knows names and numbers of a model. Knows nothing of keys, of how it is called, or of the registry of handles.
"""

from enum import StrEnum
from typing import Literal

from letta.schemas.common import Size, Wire
from letta.schemas.response_format import ResponseFormat

DEFAULT_EMBEDDING_CHUNK_SIZE = 300
"""Tokens of one passage cut from a file."""


class ModelEndpointType(StrEnum):
    """The protocols a client knows by name. An own provider answers the one whose protocol it speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE_AI = "google_ai"
    GOOGLE_VERTEX = "google_vertex"
    AZURE = "azure"
    GROQ = "groq"
    OLLAMA = "ollama"
    WEBUI = "webui"
    WEBUI_LEGACY = "webui-legacy"
    LMSTUDIO = "lmstudio"
    LMSTUDIO_LEGACY = "lmstudio-legacy"
    LMSTUDIO_CHATCOMPLETIONS = "lmstudio-chatcompletions"
    LLAMACPP = "llamacpp"
    KOBOLDCPP = "koboldcpp"
    VLLM = "vllm"
    HUGGING_FACE = "hugging-face"
    MINIMAX = "minimax"
    MOONSHOT = "moonshot"
    MOONSHOT_CODING = "moonshot_coding"
    MISTRAL = "mistral"
    TOGETHER = "together"
    BEDROCK = "bedrock"
    DEEPSEEK = "deepseek"
    XAI = "xai"
    ZAI = "zai"
    ZAI_CODING = "zai_coding"
    BASETEN = "baseten"
    FIREWORKS = "fireworks"
    OPENROUTER = "openrouter"
    CHATGPT_OAUTH = "chatgpt_oauth"


class EmbeddingEndpointType(StrEnum):
    """The embedding protocols a client knows by name."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    BEDROCK = "bedrock"
    GOOGLE_AI = "google_ai"
    GOOGLE_VERTEX = "google_vertex"
    AZURE = "azure"
    GROQ = "groq"
    OLLAMA = "ollama"
    WEBUI = "webui"
    WEBUI_LEGACY = "webui-legacy"
    LMSTUDIO = "lmstudio"
    LMSTUDIO_LEGACY = "lmstudio-legacy"
    LLAMACPP = "llamacpp"
    KOBOLDCPP = "koboldcpp"
    VLLM = "vllm"
    HUGGING_FACE = "hugging-face"
    MISTRAL = "mistral"
    TOGETHER = "together"
    PINECONE = "pinecone"


class ProviderCategory(StrEnum):
    """Whose key pays: one of the server's own settings, or one stored through the API."""

    BASE = "base"
    BYOK = "byok"


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Effort = Literal["low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]


class LLMConfig(Wire):
    """A language model in the long form. `context_window` and `max_tokens` are tokens."""

    model: str
    model_endpoint_type: ModelEndpointType
    context_window: Size
    handle: str | None = None
    display_name: str | None = None
    model_endpoint: str | None = None
    model_wrapper: str | None = None
    provider_name: str | None = None
    provider_category: ProviderCategory | None = None
    put_inner_thoughts_in_kwargs: bool | None = None
    temperature: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    enable_reasoner: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    max_reasoning_tokens: int | None = None
    effort: Effort | None = None
    verbosity: Verbosity | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    strict: bool | None = None
    compatibility_type: Literal["gguf", "mlx"] | None = None
    tier: str | None = None
    tool_call_parser: str | None = None
    return_logprobs: bool | None = None
    top_logprobs: int | None = None
    return_token_ids: bool | None = None

    @property
    def wire_handle(self) -> str:
        """The `provider/model` this form stands for: its own handle, else `<endpoint type>/<model>`."""
        return self.handle or f"{self.model_endpoint_type}/{self.model}"


class EmbeddingConfig(Wire):
    """An embedding model in the long form. `embedding_dim` is the length of a vector, chunks are in tokens."""

    embedding_model: str
    embedding_endpoint_type: EmbeddingEndpointType
    embedding_dim: Size
    handle: str | None = None
    embedding_endpoint: str | None = None
    embedding_chunk_size: int | None = DEFAULT_EMBEDDING_CHUNK_SIZE
    batch_size: int | None = None
    azure_endpoint: str | None = None
    azure_version: str | None = None
    azure_deployment: str | None = None

    @property
    def wire_handle(self) -> str:
        """The `provider/model` this form stands for: its own handle, else `<endpoint type>/<model>`."""
        return self.handle or f"{self.embedding_endpoint_type}/{self.embedding_model}"
