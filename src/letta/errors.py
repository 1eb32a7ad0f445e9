"""Every error this server raises on purpose.

    LettaError
    ├── InvalidRequest            400  the request makes no sense as it stands
    │   └── InvalidValue          422  a field has a value that cannot be accepted
    ├── Unauthorized              401
    ├── NotFound                  404
    ├── Gone                      410  it was there once and is not kept any longer
    ├── NotAllowed                405  the operation is refused on purpose
    ├── Conflict                  409
    │   ├── Busy                  409  another run holds the conversation
    │   └── PendingApproval       409  the agent waits for an approval
    ├── DeadlineExceeded          504  a run did not end in the time its request gave it
    ├── InterruptedTooOften       500  a run was taken up again and again, and never ended
    ├── NotBuilt                  501  part of the API, not served by this version
    ├── StoreUnavailable          503  the database does not answer
    │   └── StoreFull             503  the disk that holds the database is full
    ├── ToolFailed                     data for the model, never an HTTP answer
    ├── McpFailed                 502  an MCP server cannot be reached or broke its protocol
    │   ├── McpTimeout            408  an MCP server was silent for too long
    │   └── McpSignInNeeded       400  an MCP server wants a person to sign in first
    └── ModelError                502  the model provider failed
        ├── ModelBadRequest       400
        │   └── ContextOverflow   400  the prompt does not fit the model's window
        │       └── PromptOverflow  400  system prompt and tools alone do not fit
        ├── ModelAuthentication   401
        ├── ModelCredits          402
        ├── ModelNotFound         404
        ├── ModelRateLimit        429
        ├── ModelEmptyAnswer      502
        ├── ModelCutOff           502  the stream ended in the middle
        ├── ModelUnreachable      502
        ├── ModelServerError      502
        └── ModelTimeout          504

`status` is the HTTP status the API answers with, `code` a stable word for programs, and the docstring the default
message. Nothing below `letta.api` speaks HTTP; the numbers stand here so that there is one table of them.
"""

from typing import Any


class LettaError(Exception):
    """Something went wrong."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.details = details
        super().__init__(self.message)


class InvalidRequest(LettaError):
    """The request is not valid."""

    status = 400
    code = "invalid_argument"


class InvalidValue(InvalidRequest):
    """A field has a value that cannot be accepted."""

    status = 422
    code = "invalid_value"


class Unauthorized(LettaError):
    """Unauthorized"""

    status = 401
    code = "unauthorized"


class NotFound(LettaError):
    """Not found."""

    status = 404
    code = "not_found"


class Gone(LettaError):
    """What was asked for was there once, and is not kept any longer."""

    status = 410
    code = "gone"


class NotAllowed(LettaError):
    """This operation is not allowed."""

    status = 405
    code = "not_allowed"


class Conflict(LettaError):
    """The request conflicts with the current state."""

    status = 409
    code = "conflict"


class Busy(Conflict):
    """Another run is working on this conversation. `run_id` names it."""

    code = "CONVERSATION_BUSY"


class PendingApproval(Conflict):
    """The agent waits for an approval: answer it, or cancel the run, before sending a new message."""

    code = "PENDING_APPROVAL"


class DeadlineExceeded(LettaError):
    """The run did not end before the deadline of its request."""

    status = 504
    code = "deadline_exceeded"


class InterruptedTooOften(LettaError):
    """The run was taken up again and again, and interrupted each time."""

    status = 500
    code = "interrupted_too_often"


class NotBuilt(LettaError):
    """This version of the server does not have this feature yet."""

    status = 501
    code = "not_built"


class StoreUnavailable(LettaError):
    """The database does not answer."""

    status = 503
    code = "store_unavailable"


class StoreFull(StoreUnavailable):
    """The disk that holds the database is full."""


class ToolFailed(LettaError):
    """A tool could not do what was asked. The message is shown to the model."""

    code = "tool_failed"


class McpFailed(LettaError):
    """The MCP server cannot be reached, or does not speak the protocol."""

    status = 502
    code = "mcp_connection_error"


class McpTimeout(McpFailed):
    """The MCP server was silent for too long."""

    status = 408
    code = "mcp_timeout"


class McpSignInNeeded(McpFailed):
    """The MCP server wants a person to sign in first."""

    status = 400
    code = "mcp_sign_in_needed"


class ModelError(LettaError):
    """The model provider failed. `retry_after` (seconds) is what the provider asked for, if it did."""

    status = 502
    code = "llm_error"
    retryable = False

    def __init__(self, message: str | None = None, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ModelBadRequest(ModelError):
    """The model provider refused the request."""

    status = 400
    code = "llm_bad_request"


class ContextOverflow(ModelBadRequest):
    """The prompt does not fit the model's context window."""

    code = "context_window_exceeded"


class PromptOverflow(ContextOverflow):
    """The system prompt and the tools alone do not fit the model's context window."""

    code = "context_window_overflow_in_system_prompt"


class ModelAuthentication(ModelError):
    """The model provider refused the API key."""

    status = 401
    code = "llm_authentication"


class ModelCredits(ModelError):
    """The account at the model provider has no credit left."""

    status = 402
    code = "llm_insufficient_credits"


class ModelNotFound(ModelError):
    """The model provider does not know this model."""

    status = 404
    code = "llm_not_found"


class ModelRateLimit(ModelError):
    """The model provider limits the rate of requests."""

    status = 429
    code = "llm_rate_limit"
    retryable = True


class ModelEmptyAnswer(ModelError):
    """The model answered with nothing."""

    code = "llm_empty_response"
    retryable = True


class ModelCutOff(ModelError):
    """The model's answer stopped in the middle."""

    code = "stream_incomplete"
    retryable = True


class ModelUnreachable(ModelError):
    """The model provider cannot be reached."""

    code = "llm_error"
    retryable = True


class ModelServerError(ModelError):
    """The model provider had an error of its own."""

    code = "llm_error"
    retryable = True


class ModelTimeout(ModelError):
    """The model provider did not answer in time."""

    status = 504
    code = "llm_timeout"
    retryable = True
