"""Which error a provider's refusal is: statuses, error types and the words servers use.

A pure table with a few lines around it; knows nothing about requests or connections.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from letta.errors import (
    ContextOverflow,
    ModelAuthentication,
    ModelBadRequest,
    ModelCredits,
    ModelError,
    ModelNotFound,
    ModelRateLimit,
    ModelServerError,
    ModelTimeout,
)
from letta.models import encoding

_LONGEST_TEXT = 1500

# How servers say that the prompt is too long. Each line names who says it.
_OVERFLOW = re.compile(
    "|".join(
        (
            r"context_length_exceeded",  # OpenAI, Groq, DeepSeek (code)
            r"exceed_context_size",  # llama.cpp (type)
            r"maximum context length",  # OpenAI, vLLM, OpenRouter, Mistral, Fireworks, SGLang
            r"exceeds? the (model'?s? )?(context window|context length|available context size)",  # OpenAI, Ollama
            r"exceeds? (the )?(model'?s )?maximum (context|model|input|prompt) length",  # vLLM, SGLang
            r"longer than the (maximum model length|model'?s context length)",  # vLLM, SGLang
            r"prompt is too long|input is too long for|prompt too long",  # Anthropic, Bedrock, Ollama
            r"exceed(s|ed)? (the )?(max(imum)? )?context (limit|length|size|window)",  # Anthropic, Ollama cloud
            r"context size has been exceeded|reached context length of",  # LM Studio
            r"greater than the context length|loaded with context length of only",  # LM Studio
            r"maximum prompt length is",  # xAI
            r"inputs?`? tokens \+ `?max_new_tokens",  # Together
            r"reduce the length of the (messages|prompt|input)",  # OpenAI, Groq, Cerebras
            r"input token count .{0,40}exceeds the maximum",  # Google
            r"tokens must be reduced in order to run",  # OpenAI: one request above the whole rate limit
            r"context window (is )?exceeded|exceeded? .{0,20}context window",
        )
    ),
    re.IGNORECASE,
)
_CREDITS = re.compile(
    r"insufficient_quota|insufficient (balance|credit|funds)|credit balance is too low|billing_error"
    r"|billing_not_active|billing_hard_limit|used all available credits|out of credits|requires more credits",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"invalid_api_key|incorrect api key|invalid x-api-key|api key (is )?(not valid|invalid)", re.IGNORECASE
)

# Error objects inside a stream carry a type where an answer carries a status.
_STATUS_OF_TYPE = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "unavailable_error": 503,
    "service_unavailable": 503,
    "invalid_request_error": 400,
    "exceed_context_size_error": 400,
}


def from_reply(
    provider: str,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    place: str,
    secret: str | None = None,
) -> ModelError:
    """The error an HTTP answer means.

    `status` 200 stands for an error object inside a stream: its own code or type then decides. `place` is the URL
    without its query, named where the URL itself is probably wrong. `secret` is taken out of the text.
    """
    text, words, inner = _read(body)
    if status == 200:
        status = inner or 500
    if secret:
        text, words = text.replace(secret, "[API key]"), words.replace(secret, "[API key]")
    shown = text[:_LONGEST_TEXT] or "no explanation given"
    error = _leaf(status, words)
    if 300 <= status < 400:
        shown = f"{place} redirects to {headers.get('location', 'elsewhere')}: use that address as the base URL"
    elif status in (404, 405) and not body.lstrip().startswith((b"{", b"[")):
        shown = f"nothing answers at {place}: is the base URL right?"
    message = f"{provider} answered {status}: {shown}"
    return error(message, retry_after=_retry_after(headers), provider=provider, provider_status=status)


def _leaf(status: int, words: str) -> type[ModelError]:
    if status == 413 or (status not in (401, 403, 404) and _OVERFLOW.search(words)):
        return ContextOverflow
    if status == 402 or _CREDITS.search(words):
        return ModelCredits
    if status in (401, 403) or (status == 400 and _KEY.search(words)):
        return ModelAuthentication
    if status in (404, 405):
        return ModelNotFound
    if status == 429:
        return ModelRateLimit
    if status in (408, 504):
        return ModelTimeout
    if status >= 500 or status in (409, 425):  # both ask to be tried again
        return ModelServerError
    return ModelBadRequest


def _read(body: bytes) -> tuple[str, str, int | None]:
    """Text for people, all words for matching, and the status the body itself names."""
    raw = body.decode("utf-8", "replace").strip()
    try:
        value = encoding.loads(body)
    except ValueError:
        page = raw.lower().startswith(("<!doctype", "<html"))
        return ("an HTML page" if page else raw), raw, None
    if isinstance(value, list) and value:
        value = value[0]
    found = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(found, dict):
        return str(found), raw, None
    return _text(found) or raw, raw, _inner_status(found)


def _text(error: dict[str, Any]) -> str:
    text = error.get("message") or error.get("detail") or error.get("error") or ""
    text = text if isinstance(text, str) else encoding.dumps(text).decode()
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and metadata.get("raw"):  # OpenRouter: what the provider behind it said
        text += f" ({metadata.get('provider_name', 'provider')}: {metadata['raw']})"
    return text


def _inner_status(error: dict[str, Any]) -> int | None:
    for key in ("code", "status", "status_code"):
        value = error.get(key)
        if isinstance(value, int | str) and str(value).isdigit() and 400 <= int(value) < 600:
            return int(value)
    for key in ("type", "code"):
        value = error.get(key)
        if isinstance(value, str) and value.lower() in _STATUS_OF_TYPE:
            return _STATUS_OF_TYPE[value.lower()]
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or a date)."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
