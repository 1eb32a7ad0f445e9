"""Every provider that is reached through pydantic-ai's model classes. `letta.models.kinds` imports it on first use."""

from letta.models.pydantic_ai.model import PydanticAIModel

__all__ = ["PydanticAIModel"]
