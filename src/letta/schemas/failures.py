"""The bodies of error answers. Which error has which status stands in `letta.errors`."""

from typing import Literal

from letta.schemas.common import Wire


class Refusal(Wire):
    """Why a request was refused, for people."""

    detail: str


class InvalidRequest(Wire):
    """Which fields cannot be accepted and why: one text for all. `trace_id` is empty and kept for older clients."""

    detail: str
    trace_id: str = ""


class PendingApproval(Wire):
    """The message with the calls that wait for an answer."""

    code: Literal["PENDING_APPROVAL"]
    message: str
    pending_request_id: str | None = None


class ConflictRefusal(Wire):
    """What stands in the way; `run_id` names the run that is at work, if it is one."""

    detail: str | PendingApproval
    run_id: str | None = None


class ModelFailure(Wire):
    """What a model provider answered. `type` is a word for programs."""

    type: str
    message: str
    detail: str | None


class ModelRefusal(Wire):
    """The model provider failed; the status says how."""

    error: ModelFailure
