"""The tool older agent types reply with. Searching what was said is in `letta.tools.searches`."""

from typing import Any

from letta.tools.context import ToolContext

DEFAULT_RESULTS = 5
"""Messages a search of conversations gives unless it asks for another number."""


def send_message(context: ToolContext, message: Any) -> str:
    return "Sent message successfully."
