"""How errors become HTTP answers: the one place that maps them."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from letta.errors import (
    Busy,
    Conflict,
    DeadlineExceeded,
    LettaError,
    McpFailed,
    ModelError,
    NotBuilt,
    PendingApproval,
)

# Clients of the official SDKs repeat 409 and 5xx by themselves unless told not to.
_NO_RETRY = {"x-should-retry": "false"}


def _json(body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(body), status, headers=headers, media_type="application/json")


def answer(error: LettaError) -> Response:
    """The HTTP form of an error."""
    if isinstance(error, ModelError):
        detail = error.details.get("detail")
        failure = {"error": {"type": error.code, "message": error.message, "detail": detail}}
        retry = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after else {}
        return _json(failure, error.status, retry if error.retryable else _NO_RETRY)
    if isinstance(error, PendingApproval):
        pending = {"code": error.code, "message": error.message, **error.details}
        return _json({"detail": pending}, error.status, _NO_RETRY)
    prefix = "INVALID_ARGUMENT: " if error.status == 400 else ""
    more = error.details if isinstance(error, Busy) else {}
    body = {**more, "detail": f"{prefix}{error.message}"}
    final = isinstance(error, Conflict | McpFailed | NotBuilt) or error.code == DeadlineExceeded.code
    return _json(body, error.status, _NO_RETRY if final else None)


async def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, LettaError)
    return answer(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):
        # What is not declared as JSON comes here unread, whatever it holds.
        kind = request.headers.get("content-type") or "nothing"
        return _refused(f"body: send JSON with the header Content-Type: application/json; the request says {kind}")
    return _refused("; ".join(_problem(problem) for problem in error.errors()))


def _refused(detail: str) -> Response:
    return _json({"trace_id": "", "detail": detail}, 422)


def _problem(problem: dict[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"body: not JSON: {problem['ctx']['error']}, at character {problem['loc'][-1]}"
    if problem["loc"] == ("body",) and problem["type"] == "missing":
        return "body: missing; send JSON with the header Content-Type: application/json"
    # The first step says which part of the request; a field may have the same name.
    place, *steps = problem["loc"]
    where = ".".join(map(str, steps if place in ("body", "query", "path") else problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and isinstance(error.__cause__, RecursionError | ValueError):
        # The framework's word for JSON that its reader gives up on.
        return _refused("body: not readable as JSON: nested too deep, not UTF-8, or with a number of too many digits")
    return _json({"detail": error.detail}, error.status_code, dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> Response:
    return _json({"detail": "An unknown error occurred"}, 500, _NO_RETRY)


def install(app: FastAPI) -> None:
    """Let the application answer errors in the API's form."""
    app.add_exception_handler(LettaError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
