"""Model providers and the keys for them. Knows nothing of how keys are kept or checked."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from letta.schemas.common import Body, Patch, Timestamp, Wire
from letta.schemas.llm_config import ProviderCategory


class ProviderType(StrEnum):
    """The kinds of provider a client knows by name."""

    ANTHROPIC = "anthropic"
    AZURE = "azure"
    BASETEN = "baseten"
    BEDROCK = "bedrock"
    CEREBRAS = "cerebras"
    CHATGPT_OAUTH = "chatgpt_oauth"
    DEEPSEEK = "deepseek"
    FIREWORKS = "fireworks"
    GOOGLE_AI = "google_ai"
    GOOGLE_VERTEX = "google_vertex"
    GROQ = "groq"
    HUGGING_FACE = "hugging-face"
    LETTA = "letta"
    LMSTUDIO_OPENAI = "lmstudio_openai"
    MINIMAX = "minimax"
    MISTRAL = "mistral"
    MOONSHOT = "moonshot"
    MOONSHOT_CODING = "moonshot_coding"
    OLLAMA = "ollama"
    OPENAI = "openai"
    OPENROUTER = "openrouter"
    SGLANG = "sglang"
    TOGETHER = "together"
    VLLM = "vllm"
    XAI = "xai"
    ZAI = "zai"
    ZAI_CODING = "zai_coding"


class Provider(Wire):
    """A provider. Handles begin with its `name`; `region` and `access_key` are for Bedrock, `api_version` for Azure.

    The keys are there for the older clients' types; whoever builds an answer leaves them null or masked.
    """

    id: str
    name: str
    provider_type: ProviderType
    provider_category: ProviderCategory
    base_url: str | None = None
    region: str | None = None
    api_version: str | None = None
    api_key: str | None = Field(default=None, repr=False)
    access_key: str | None = Field(default=None, repr=False)
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    last_synced: Timestamp | None = None


class ProviderAccess(Body):
    """How a provider is reached. The key may be empty: servers of one's own often want none."""

    never_null: ClassVar[frozenset[str]] = frozenset({"api_key"})

    api_key: str = Field(default="", repr=False)
    access_key: str | None = Field(default=None, repr=False)
    region: str | None = None
    base_url: str | None = None
    api_version: str | None = None


class CreateProvider(ProviderAccess):
    """A provider to add. No slash in the name: a handle is `name/model`."""

    name: str = Field(min_length=1, pattern="^[^/]+$")
    provider_type: ProviderType


class CheckProvider(ProviderAccess):
    """A key to try out without storing it."""

    provider_type: ProviderType


class UpdateProvider(Patch):
    """Changes to a provider's access; its name and type stay, because handles are made of them."""

    never_null: ClassVar[frozenset[str]] = frozenset({"api_key"})

    api_key: str | None = Field(default=None, repr=False)
    access_key: str | None = Field(default=None, repr=False)
    region: str | None = None
    base_url: str | None = None
    api_version: str | None = None
