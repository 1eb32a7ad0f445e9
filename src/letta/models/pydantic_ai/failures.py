"""pydantic-ai's errors, and those of the SDKs below it, as ours."""

import logging
from typing import Any

import httpx2
from pydantic_ai import exceptions as pai

from letta import errors
from letta.models import encoding, failures

_log = logging.getLogger(__name__)

# The first class that fits decides: the particular ones come before those they inherit from.
_LEAVES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[errors.ModelError]], ...] = (
    (pai.ModelContextWindowExceededError, errors.ContextOverflow),
    (pai.ModelAuthenticationError, errors.ModelAuthentication),
    (pai.ModelNotFoundError, errors.ModelNotFound),
    (pai.ModelQuotaExceededError, errors.ModelCredits),
    (pai.ModelRateLimitError, errors.ModelRateLimit),
    (pai.ContentFilterError, errors.ModelBadRequest),
    (pai.ModelRequestRejectedError, errors.ModelBadRequest),
    ((pai.ModelTimeoutError, pai.ModelRequestTimeout, httpx2.TimeoutException), errors.ModelTimeout),
    ((pai.ModelConnectionError, httpx2.TransportError), errors.ModelUnreachable),
    ((pai.ModelUnavailableError, pai.ModelServerError, pai.ModelAPIError), errors.ModelServerError),
    # ValueError: a picture that cannot be fetched, and other content that cannot be turned into a request.
    ((pai.UserError, ValueError), errors.ModelBadRequest),
    (pai.UnexpectedModelBehavior, errors.ModelServerError),
)


def translated(error: Exception, provider: str, place: str, secret: str | None, *, started: bool) -> errors.ModelError:
    """The error of ours that an exception means.

    Args:
        place: the address asked, for messages.
        secret: the API key, taken out of every text.
        started: something was streamed already, so that a lost connection is a cut-off answer.
    """
    if isinstance(error, errors.ModelError):
        return error
    if isinstance(error, pai.ModelHTTPError):
        found = _refused(error, provider, place, secret)
    else:
        leaf = next((leaf for classes, leaf in _LEAVES if isinstance(error, classes)), None)
        if leaf is None:
            _log.error("%s failed in an unknown way", provider, exc_info=error)
            leaf = errors.ModelServerError
        if started and leaf is errors.ModelUnreachable:
            leaf = errors.ModelCutOff
        if "ended without" in str(error):
            leaf = errors.ModelCutOff if started else errors.ModelEmptyAnswer
        text = _text(error)
        if leaf is errors.ModelUnreachable:
            text = f"cannot reach {place}: {text}"
        text = _without(secret, text)
        found = leaf(f"{provider}: {text}", provider=provider)
    if found.retry_after is None:
        found.retry_after = getattr(error, "retry_after", None)
    return found


def _refused(error: pai.ModelHTTPError, provider: str, place: str, secret: str | None) -> errors.ModelError:
    body = error.body
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else _dumped(body)
    headers = {name.lower(): value for name, value in (getattr(error, "headers", None) or {}).items()}
    found = failures.from_reply(provider, error.status_code, data, headers, place=place, secret=secret)
    # The library reads error codes a status does not tell, such as a quota behind a 429.
    for classes, leaf in _LEAVES[:5]:
        if isinstance(error, classes) and type(found) in (errors.ModelBadRequest, errors.ModelRateLimit):
            return leaf(found.message, **found.details)
    return found


def _dumped(body: Any) -> bytes:
    try:
        return encoding.dumps(body) if body is not None else b""
    except TypeError:
        return str(body).encode()


def _text(error: Exception) -> str:
    message = getattr(error, "message", None) or str(error)
    return f"{message}" if message else type(error).__name__


def _without(secret: str | None, text: str) -> str:
    return text.replace(secret, "[API key]") if secret else text
