"""Every provider of the conformance suite. Adding a provider is adding a line."""

from tests.models.wire import Wire
from tests.models.wire_anthropic import ANTHROPIC
from tests.models.wire_openai_chat import chat_wire

WIRES: tuple[Wire, ...] = (
    chat_wire("openai"),
    chat_wire("deepseek"),
    chat_wire("openrouter", reasoning="reasoning"),
    chat_wire("mistral", reasoning="thinking"),
    chat_wire("ollama", reasoning="reasoning", whole_calls=True),
    ANTHROPIC,
)
