"""Language models a harness can use. Pure data."""

from pydantic import BaseModel


class ModelInfo(BaseModel):
    """A model; `context_window` and `max_output_tokens` count tokens."""

    id: str
    name: str
    provider: str
    description: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    supports_vision: bool = False
    supports_tools: bool = False
    supports_streaming: bool = True
