"""Batches: messages for many agents in one request, answered when all are done."""

from typing import Literal

from pydantic import Field

from letta.schemas.common import Body, JsonObject, Timestamp, Wire, id_pattern
from letta.schemas.messages import Part, Role
from letta.schemas.runs import StopReason
from letta.schemas.sends import SendRequest

MOST_REQUESTS = 1000
"""In one batch."""

BatchStatus = Literal["created", "running", "completed", "failed", "cancelled", "expired"]
"""`completed` says that all ended and one of them well; `expired` that the agents were deleted and nothing is left."""


class BatchRequest(SendRequest):
    """What one agent is sent. Streaming and callbacks are not for single requests of a batch."""

    agent_id: str = Field(pattern=id_pattern("agent"))
    callback_url: None = None


class CreateBatch(Body):
    """The requests. Those for one agent are worked on in their order, those for several side by side."""

    requests: list[BatchRequest] = Field(min_length=1, max_length=MOST_REQUESTS)
    callback_url: str | None = None


class Batch(Wire):
    """A batch, in the words of a job. `metadata` counts its runs by status; of one batch it lists their ids, too."""

    id: str
    status: BatchStatus
    agent_id: str | None = None
    background: bool = True
    job_type: Literal["batch"] = "batch"
    stop_reason: StopReason | None = None
    created_at: Timestamp
    updated_at: Timestamp
    completed_at: Timestamp | None = None
    callback_url: str | None = None
    callback_sent_at: Timestamp | None = None
    callback_status_code: int | None = None
    callback_error: str | None = None
    metadata: JsonObject
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    ttft_ns: int | None = None
    total_duration_ns: int | None = None


class CalledFunction(Wire):
    """What a call names, and its arguments as JSON text."""

    name: str
    arguments: str


class InternalToolCall(Wire):
    """A call as V1 stores it."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class InternalToolReturn(Wire):
    """A result as V1 stores it."""

    tool_call_id: str | None = None
    status: Literal["success", "error"]
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    func_response: str | None = None


class InternalMessage(Wire):
    """A message in the form V1 keeps it: the only list of the API that is not made of wire messages."""

    id: str
    role: Role
    agent_id: str
    content: list[Part] | None = None
    model: str | None = None
    name: str | None = None
    tool_calls: list[InternalToolCall] | None = None
    tool_call_id: str | None = None
    tool_returns: list[InternalToolReturn] | None = None
    otid: str | None = None
    sender_id: str | None = None
    group_id: str | None = None
    step_id: str | None = None
    run_id: str | None = None
    batch_item_id: str | None = None
    is_err: bool | None = None
    created_at: Timestamp


class BatchMessages(Wire):
    """What the agents of a batch and their tools said."""

    messages: list[InternalMessage]
