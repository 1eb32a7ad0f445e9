"""The body of a request that sends messages to an agent, in the newest form and in the forms of older SDKs."""

from base64 import b64decode
from binascii import Error as BinasciiError
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from letta.schemas.common import Body, Wire
from letta.schemas.messages import (
    ImagePart,
    OmittedReasoningPart,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    UrlImage,
)

MAX_DEADLINE_SECONDS = 7 * 86_400

MessageType = Literal[
    "system_message",
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
    "summary_message",
    "event_message",
]


class BusyPolicy(StrEnum):
    """What happens to messages that arrive while a conversation has a turn. Not part of the V1 API.

    `reject`: 409, with the id of the run. `enqueue`: they wait, and get a turn of their own. `merge`: those that wait
    get one turn together. `steer`: the turn that goes on hears them before its next step. `interrupt`: that turn is
    cancelled, and they get the next one. `rollback`: the same, and the cancelled turn leaves the window.
    """

    REJECT = "reject"
    ENQUEUE = "enqueue"
    MERGE = "merge"
    STEER = "steer"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class ToolCallInput(Wire):
    """A call written into an assistant message; `input` is the object of arguments."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    input: dict[str, Any]
    signature: str | None = None


class ToolReturnInput(Wire):
    """A result written into a message."""

    type: Literal["tool_return"] = "tool_return"
    tool_call_id: str
    content: str
    is_error: bool = False


class SummarizedReasoningInput(Wire):
    type: Literal["summarized_reasoning"] = "summarized_reasoning"
    id: str
    summary: list[dict[str, Any]] = Field(default_factory=list)
    encrypted_content: str | None = None


IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"})


def _seen(image: ImagePart) -> ImagePart:
    """An image that a model can be shown. What is stored already is not checked again."""
    source = image.source
    if isinstance(source, UrlImage) or source.data is None:
        return image
    head, _, bare = source.data.rpartition(";base64,")
    kinds = {source.media_type or "image/png"} | ({head.removeprefix("data:").partition(";")[0]} if head else set())
    if strange := [kind for kind in kinds if kind.lower() not in IMAGE_TYPES]:
        raise ValueError(f"media_type {strange[0]!r} is no image: give one of {', '.join(sorted(IMAGE_TYPES))}")
    try:
        decoded = b64decode(bare, validate=True)
    except BinasciiError as error:
        raise ValueError(f"data is not base64: {error}") from None
    if not decoded:
        raise ValueError("data is empty: give the image's bytes in base64")
    return image


ImageInput = Annotated[ImagePart, AfterValidator(_seen)]

InputPart = Annotated[
    TextPart
    | ImageInput
    | ToolCallInput
    | ToolReturnInput
    | ReasoningPart
    | RedactedReasoningPart
    | OmittedReasoningPart
    | SummarizedReasoningInput,
    Field(discriminator="type"),
]


class MessageInput(Wire):
    """One message. `text` is the name early-2025 SDKs used for `content`."""

    type: Literal["message"] = "message"
    role: Literal["user", "system", "assistant"]
    content: str | list[InputPart] = Field(validation_alias=AliasChoices("content", "text"))
    name: str | None = None
    otid: str | None = None
    sender_id: str | None = None
    group_id: str | None = None
    batch_item_id: str | None = None


class ToolResult(Wire):
    """The result of a client-side tool."""

    type: Literal["tool"] = "tool"
    tool_call_id: str
    tool_return: str | list[Annotated[TextPart | ImageInput, Field(discriminator="type")]]
    status: Literal["success", "error"] = "success"
    stdout: list[str] | None = None
    stderr: list[str] | None = None


class Decision(Wire):
    """A person's answer to one pending call."""

    type: Literal["approval"] = "approval"
    tool_call_id: str
    approve: bool
    reason: str | None = None


class ApprovalInput(Wire):
    """Answers to pending calls: `approvals`, or the older single form `approve` + `approval_request_id`."""

    type: Literal["approval"] = "approval"
    approvals: list[Annotated[Decision | ToolResult, Field(discriminator="type")]] | None = None
    approve: bool | None = None
    approval_request_id: str | None = None
    reason: str | None = None
    otid: str | None = None
    group_id: str | None = None


class ToolReturnMessageInput(Wire):
    """Results of client-side tools."""

    type: Literal["tool_return"] = "tool_return"
    tool_returns: list[ToolResult]
    otid: str | None = None
    group_id: str | None = None


AnyInput = Annotated[MessageInput | ApprovalInput | ToolReturnMessageInput, Field(discriminator="type")]


class ClientTool(Wire):
    """A tool that runs in the client: a call to it ends the turn."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ClientSkill(Wire):
    """A skill that lives in the client; listed in the prompt."""

    name: str
    description: str
    location: str


class SendRequest(Body):
    """What to send, and how the answer is wanted. Give either `messages` or `input` (one user message).

    Fields and defaults follow the V1 API; the route sets the default of `streaming`. Two are our own: `busy_policy`,
    and `deadline_seconds`, the time from the acceptance of the request until its run has ended at the latest.
    """

    never_null: ClassVar[frozenset[str]] = frozenset({"busy_policy", "deadline_seconds"})

    messages: list[AnyInput] | None = None
    input: str | list[InputPart] | None = None
    max_steps: int | None = Field(default=None, ge=1, le=1000)
    streaming: bool | None = None
    stream_tokens: bool | None = None
    include_pings: bool | None = None
    background: bool | None = None
    use_assistant_message: bool = True
    assistant_message_tool_name: str = "send_message"
    assistant_message_tool_kwarg: str = "message"
    include_return_message_types: list[MessageType] | None = None
    include_compaction_messages: bool = False
    enable_thinking: str | bool | None = None
    client_tools: list[ClientTool] | None = None
    client_skills: list[ClientSkill] | None = None
    override_model: str | None = None
    override_system: str | None = Field(default=None, validation_alias=AliasChoices("override_system", "system"))
    return_logprobs: bool = False
    top_logprobs: int | None = None
    return_token_ids: bool = False
    callback_url: str | None = None
    busy_policy: BusyPolicy | None = None
    deadline_seconds: float | None = Field(default=None, gt=0, le=MAX_DEADLINE_SECONDS)
    agent_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_the_types(cls, data: Any) -> Any:
        """Messages without `type` are approvals when they carry an answer, plain messages otherwise."""
        if not isinstance(data, dict) or not isinstance(data.get("messages"), list):
            return data
        return {**data, "messages": [_typed(message) for message in data["messages"]]}

    @model_validator(mode="after")
    def _exactly_one_form(self) -> Self:
        if (self.messages is None) == (self.input is None):
            raise ValueError("give exactly one of `messages` and `input`")
        if not self.messages and not self.input:
            raise ValueError("`messages` is empty: send at least one message")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [tool.name for tool in self.client_tools or ()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"client_tools: the name {twice!r} is given twice; each tool needs a name of its own")
        return self

    def inputs(self) -> list[MessageInput | ApprovalInput | ToolReturnMessageInput]:
        """The messages to send, `input` turned into one user message."""
        if self.messages is not None:
            return list(self.messages)
        assert self.input is not None
        return [MessageInput(role="user", content=self.input)]


def _typed(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("type") is not None:
        return message
    if "approve" in message or "approval_request_id" in message or "approvals" in message:
        return {**message, "type": "approval"}
    if "tool_returns" in message:
        return {**message, "type": "tool_return"}
    return {**message, "type": "message"}
