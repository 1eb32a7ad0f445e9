"""The one message type: what a person, an agent, a tool or the server said, in the order it was said.

Every layer passes `Message` objects around; providers translate them on their own doorstep (`letta.models`) and the
HTTP layer shows them to clients (`letta.api.wire`). This module knows neither of the two.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter


class Role(StrEnum):
    """Who speaks. `summary` stands in for the older messages it replaces in the model's window."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    APPROVAL = "approval"
    SUMMARY = "summary"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TextPart(_Part):
    """Plain text. `signature` is an opaque provider mark that must survive unchanged (Google)."""

    type: Literal["text"] = "text"
    text: str
    signature: str | None = None


class UrlImage(_Part):
    type: Literal["url"] = "url"
    url: str


class Base64Image(_Part):
    type: Literal["base64"] = "base64"
    media_type: str
    data: str
    detail: str | None = None


class StoredImage(_Part):
    """An image kept by this server under `file_id`; `data` is filled in when the message goes to a model."""

    type: Literal["letta"] = "letta"
    file_id: str
    media_type: str | None = None
    data: str | None = None
    detail: str | None = None


class ImagePart(_Part):
    type: Literal["image"] = "image"
    source: Annotated[UrlImage | Base64Image | StoredImage, Field(discriminator="type")]


class ReasoningPart(_Part):
    """Thinking the model showed. `is_native` is false for inner thoughts a prompt or tool argument asked for.

    `signature` is the provider's proof that the text is unchanged (Anthropic); `field` names the wire field the text
    came in, because some OpenAI-compatible servers want it back under the same name.
    """

    type: Literal["reasoning"] = "reasoning"
    reasoning: str
    is_native: bool = True
    signature: str | None = None
    field: str | None = None


class RedactedReasoningPart(_Part):
    """Thinking the provider encrypted (`data`, opaque)."""

    type: Literal["redacted_reasoning"] = "redacted_reasoning"
    data: str


class OmittedReasoningPart(_Part):
    """The model thought, and the provider does not show it. `signature` is opaque provider state, if any."""

    type: Literal["omitted_reasoning"] = "omitted_reasoning"
    signature: str | None = None


class SummarizedReasoningPart(_Part):
    """Reasoning kept by the provider under `id`, shown as summaries; `encrypted_content` is sent back unchanged."""

    type: Literal["summarized_reasoning"] = "summarized_reasoning"
    id: str
    summary: tuple[str, ...] = ()
    encrypted_content: str | None = None


class ToolCallPart(_Part):
    """A call the model asked for. `arguments` is the JSON text of an object, repaired if the model wrote it broken.

    `error` says why the arguments could not be used, when repair failed: the call is then answered with that text.
    `pending` marks a call that waits for a person's approval or for a client-side result. `surplus` marks one that is
    not carried out because the model was to make one call at a time.
    """

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: str = "{}"
    signature: str | None = None
    error: str | None = None
    pending: bool = False
    surplus: bool = False


class ToolReturnPart(_Part):
    """What a tool answered to the call `tool_call_id`. Content is text, or text and image parts."""

    type: Literal["tool_return"] = "tool_return"
    tool_call_id: str
    name: str | None = None
    status: Literal["success", "error"] = "success"
    content: str | tuple[TextPart | ImagePart, ...] = ""
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()


class ApprovalPart(_Part):
    """A person's answer to a pending call."""

    type: Literal["approval"] = "approval"
    tool_call_id: str
    approve: bool
    reason: str | None = None


Part = Annotated[
    TextPart
    | ImagePart
    | ReasoningPart
    | RedactedReasoningPart
    | OmittedReasoningPart
    | SummarizedReasoningPart
    | ToolCallPart
    | ToolReturnPart
    | ApprovalPart,
    Field(discriminator="type"),
]
ReasoningParts = ReasoningPart | RedactedReasoningPart | OmittedReasoningPart | SummarizedReasoningPart

PARTS: TypeAdapter[list[Part]] = TypeAdapter(list[Part])


class Message(BaseModel):
    """One stored turn.

    `position` orders the messages of a conversation (0, 1, 2 ...); `model` is the handle that wrote an assistant
    message, so that opaque provider state is only ever sent back to the provider it came from.
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    id: str
    role: Role
    parts: list[Part]
    agent_id: str
    conversation_id: str
    created_at: datetime
    position: int = -1
    name: str | None = None
    otid: str | None = None
    sender_id: str | None = None
    group_id: str | None = None
    model: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    is_err: bool = False
    data: dict[str, Any] | None = None

    # Encodings are made once per message and provider: see `encoded`.
    _encodings: dict[str, bytes] = PrivateAttr(default_factory=dict)

    def encoded(self, flavour: str) -> bytes | None:
        """The bytes a provider made of this message before, or None. `flavour` names provider and options."""
        return self._kept().get(flavour)

    def keep_encoding(self, flavour: str, data: bytes) -> bytes:
        """Remember the bytes made for `flavour`; messages never change, so neither do they."""
        self._kept()[flavour] = data
        return data

    def _kept(self) -> dict[str, bytes]:
        # Past pydantic's own look-up of private attributes, which costs more than the rest of a request together.
        private = self.__pydantic_private__
        assert private is not None
        found: dict[str, bytes] = private["_encodings"]
        return found

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> list[ToolCallPart]:
        return [part for part in self.parts if isinstance(part, ToolCallPart)]

    @property
    def tool_returns(self) -> list[ToolReturnPart]:
        return [part for part in self.parts if isinstance(part, ToolReturnPart)]
