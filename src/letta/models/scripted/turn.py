"""How the scripted model reads a request: what the user said last, what happened since, which tools and blocks exist.

Reading is lazy and starts at the end of the history, so it costs the same for ten messages and for ten thousand. This
module knows nothing about how the model answers.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import orjson

from letta.models.protocol import ModelRequest, ToolSchema
from letta.schemas.messages import ImagePart, Message, Role, TextPart, ToolCallPart, ToolReturnPart

# The oldest agent types wrap what a user says, and what the server says in the user's place, in a JSON envelope.
_FROM_USER = "user_message"
_FROM_SERVER = frozenset({"heartbeat", "login", "system_alert"})
_FROM_AGENT = "[Message from agent"
_SERVER_NOTE = "[This is an automated system message"

_MEMORY = re.compile(r"<memory_blocks>(.*?)</memory_blocks>", re.DOTALL)
_BLOCK = re.compile(r"<(?P<label>[^<>/\s][^<>\s]*)(?:\s[^<>]*)?>\n?(?P<body>.*?)</(?P=label)>", re.DOTALL)
_VALUE = re.compile(r"<value>\n?(.*?)\n?</value>", re.DOTALL)
_ABOUT = re.compile(r"<(description|metadata)>.*?</\1>", re.DOTALL)
_READ_ONLY = re.compile(r"read_only\s*[=:]\s*true", re.IGNORECASE)
_NUMBERED = re.compile(r"^\s*\d+→ ?", re.MULTILINE)
_BANNER = re.compile(r"^# (?:NOTE: )?Line numbers.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A memory block as the system prompt shows it."""

    label: str
    value: str
    read_only: bool = False


@dataclass
class Turn:
    """The turn a request belongs to. `steps` counts its model calls so far; `notes` is what the server said since."""

    request: ModelRequest
    text: str = ""
    start: int = 0
    steps: int = 0
    images: list[ImagePart] = field(default_factory=list)
    calls: list[ToolCallPart] = field(default_factory=list)
    returns: list[ToolReturnPart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def tools(self) -> dict[str, ToolSchema]:
        return {tool.name: tool for tool in self.request.tools}

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        # The instructions may mention the element before the section that holds it.
        found = (read_blocks(part) for part in self.request.system if "</memory_blocks>" in part)
        return next((blocks for blocks in found if blocks), ())

    @cached_property
    def earlier(self) -> list[str]:
        """What the user said before this turn, newest first."""
        said = (spoken(message) for message in reversed(self.request.messages[: self.start]))
        return [text for text in said if text]

    @property
    def failures(self) -> list[ToolReturnPart]:
        return [part for part in self.returns if part.status == "error"]


def read_turn(request: ModelRequest) -> Turn:
    """Walk back to the last thing the user said, and gather what came after it."""
    turn = Turn(request)
    after: list[Message] = []
    for index in range(len(request.messages) - 1, -1, -1):
        message = request.messages[index]
        said = spoken(message)
        if said is not None:
            turn.text, turn.start = said.strip(), index
            turn.images = [part for part in message.parts if isinstance(part, ImagePart)]
            break
        after.append(message)
    for message in reversed(after):
        _follow(turn, message)
    return turn


def _follow(turn: Turn, message: Message) -> None:
    if message.role is Role.ASSISTANT:
        turn.steps += 1
        turn.notes.clear()
    elif message.role in (Role.USER, Role.SYSTEM):
        turn.notes.append(message.text)
    turn.calls.extend(message.tool_calls)
    turn.returns.extend(message.tool_returns)


def spoken(message: Message) -> str | None:
    """What the user, or another agent, said in a message; None when the server or this agent speaks."""
    text = message.text
    if message.role is Role.SYSTEM and text.startswith(_FROM_AGENT):
        return text.partition("\n")[2]
    if message.role is not Role.USER:
        return None
    if text.startswith(_SERVER_NOTE) or (message.data or {}).get("nudge"):
        return None
    if text.startswith("{"):
        envelope = _object(text)
        kind = envelope.get("type")
        if kind in _FROM_SERVER:
            return None
        if kind == _FROM_USER:
            return str(envelope.get("message", ""))
    return text


def result_text(part: ToolReturnPart) -> str:
    """The text of a tool's result, taken out of its `{"status", "message"}` envelope if it has one."""
    if isinstance(part.content, str):
        envelope = _object(part.content) if part.content.startswith("{") else {}
        text = str(envelope["message"]) if {"status", "message"} <= envelope.keys() else part.content
    else:
        text = " ".join(item.text if isinstance(item, TextPart) else f"[{media_type(item)}]" for item in part.content)
    return text.strip()


def media_type(image: ImagePart) -> str:
    """The media type of an image, or `image` when only an address is known."""
    return getattr(image.source, "media_type", None) or "image"


@lru_cache(maxsize=64)
def read_blocks(prompt: str) -> tuple[Block, ...]:
    """The blocks in `<memory_blocks>`: one element per label, its value in `<value>` or as the rest of the element."""
    section = _MEMORY.search(prompt)
    return tuple(_read_block(match) for match in _BLOCK.finditer(section[1])) if section else ()


def _read_block(match: re.Match[str]) -> Block:
    body = match["body"]
    value = _VALUE.search(body)
    text = value[1] if value else _ABOUT.sub("", body)
    if _NUMBERED.search(text):
        text = _NUMBERED.sub("", _BANNER.sub("", text))
    about = body[: value.start()] if value else body
    return Block(match["label"], text.strip("\n"), bool(_READ_ONLY.search(about)))


def _object(text: str) -> dict[str, Any]:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
