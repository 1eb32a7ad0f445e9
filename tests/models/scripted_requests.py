"""Messages and tools for requests to the scripted model."""

from datetime import UTC, datetime
from itertools import count

from letta.models.protocol import ToolSchema
from letta.schemas.messages import Message, Part, Role, TextPart

_numbers = count(1)


def message(role: Role, *parts: Part) -> Message:
    return Message(
        id=f"message-{next(_numbers)}",
        role=role,
        parts=list(parts),
        agent_id="agent-1",
        conversation_id="agent-1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def user(text: str) -> Message:
    return message(Role.USER, TextPart(text=text))


def tool(name: str, *arguments: str, **kinds: str) -> ToolSchema:
    properties = {argument: {"type": "string"} for argument in arguments}
    properties |= {argument: {"type": kind} for argument, kind in kinds.items()}
    return ToolSchema(name, f"The tool {name}.", {"type": "object", "properties": properties})
