"""Models a client may choose from. Knows nothing of how the list is made or how a model is called."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from letta.schemas.common import Size
from letta.schemas.llm_config import EmbeddingConfig, LLMConfig, ModelEndpointType, ProviderCategory
from letta.schemas.providers import ProviderType


def _listed(kind: ModelEndpointType) -> ModelEndpointType:
    # The client's type of a listed model has no "fireworks", though its type of an agent's model has.
    return ModelEndpointType.OPENAI if kind is ModelEndpointType.FIREWORKS else kind


class Model(LLMConfig):
    """A language model. `name` and `model` are the provider's name for it; windows are in tokens."""

    name: str
    max_context_window: Size
    provider_type: ProviderType
    model_endpoint_type: Annotated[ModelEndpointType, AfterValidator(_listed)]
    provider_category: ProviderCategory | None = ProviderCategory.BASE
    model_type: Literal["llm"] = "llm"


class EmbeddingModel(EmbeddingConfig):
    """An embedding model."""

    name: str
    display_name: str
    provider_name: str
    provider_type: ProviderType
    model_type: Literal["embedding"] = "embedding"
