"""What servers say when they refuse, and which error that is."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

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
from letta.models.failures import from_reply

PLACE = "http://server/v1/chat/completions"
OVERFLOWS = {
    "openai": (400, "This model's maximum context length is 128000 tokens. However, your messages resulted in 140000."),
    "openai responses": (400, "Your input exceeds the context window of this model."),
    "openai, above the whole limit": (
        429,
        "Too large: input or output tokens must be reduced in order to run.",
    ),
    "anthropic": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "anthropic with max_tokens": (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
    "anthropic, bytes": (413, "Request exceeds the maximum size"),
    "vllm": (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    "sglang": (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "llama.cpp": (400, "the request exceeds the available context size, try increasing it"),
    "llama.cpp, older": (500, "the request exceeds the available context size. try increasing the context size"),
    "ollama": (400, "the input length exceeds the context length"),
    "ollama cloud": (400, "prompt too long; exceeded max context length by 12 tokens"),
    "lm studio": (400, "the model is loaded with context length of only 4096 tokens"),
    "lm studio, generating": (400, "Context size has been exceeded."),
    "openrouter": (400, "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000"),
    "groq": (400, "Please reduce the length of the messages or completion."),
    "mistral": (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "xai": (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "together": (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193"),
    "bedrock": (400, "Input is too long for requested model."),
    "google": (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
}
BODIES: dict[str, tuple[int, str, type[ModelError], str]] = {
    "error object": (400, '{"error": {"message": "no good", "type": "x"}}', ModelBadRequest, "no good"),
    "error text": (400, '{"error": "no good"}', ModelBadRequest, "no good"),
    "message only": (422, '{"message": "no good"}', ModelBadRequest, "no good"),
    "list of details": (422, '{"detail": [{"loc": ["body"], "msg": "no good"}]}', ModelBadRequest, "no good"),
    "list around": (400, '[{"error": {"message": "no good"}}]', ModelBadRequest, "no good"),
    "plain text": (400, "no good", ModelBadRequest, "no good"),
    "html": (502, "<html><body>Bad gateway</body></html>", ModelServerError, "an HTML page"),
    "nothing": (500, "", ModelServerError, "no explanation given"),
    "wrong path": (404, "404 page not found", ModelNotFound, "is the base URL right?"),
    "unknown model": (404, '{"error": "model \\"x\\" not found, try pulling it first"}', ModelNotFound, "try pulling"),
    "not paid": (402, '{"error": {"message": "Insufficient Balance"}}', ModelCredits, "Insufficient Balance"),
    "spent": (403, '{"error": "Your team has used all available credits"}', ModelCredits, "used all available"),
    "forbidden": (403, '{"error": {"message": "Country not supported"}}', ModelAuthentication, "Country"),
    "bad key as 400": (400, '{"error": {"message": "API key not valid."}}', ModelAuthentication, "API key not valid"),
    "busy": (429, '{"error": {"message": "slow down"}}', ModelRateLimit, "slow down"),
    "loading": (503, '{"error": {"code": 503, "message": "Loading model"}}', ModelServerError, "Loading model"),
    "slow": (408, "{}", ModelTimeout, ""),
    "moved": (308, "", ModelBadRequest, "redirects to https://new/v1"),
    "in a stream, by code": (200, '{"error": {"code": 429, "message": "limit"}}', ModelRateLimit, "limit"),
    "in a stream, by type": (200, '{"error": {"type": "overloaded_error", "message": "o"}}', ModelServerError, "529"),
    "in a stream, unknown": (200, '{"error": {"message": "boom"}}', ModelServerError, "boom"),
    "openrouter's provider": (
        502,
        '{"error": {"message": "Provider returned error", "metadata": {"raw": "deep down", "provider_name": "P"}}}',
        ModelServerError,
        "(P: deep down)",
    ),
}


def failure(status: int, body: str, **headers: str) -> ModelError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return from_reply("server", status, body.encode(), named, place=PLACE, secret="sk-secret")


@pytest.mark.parametrize(("status", "text"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_every_servers_words_for_a_full_window_are_known(status: int, text: str) -> None:
    error = from_reply("server", status, b'{"error": {"message": "%b"}}' % text.encode(), {}, place=PLACE)
    assert type(error) is ContextOverflow
    assert text in error.message


@pytest.mark.parametrize(("status", "body", "kind", "words"), BODIES.values(), ids=BODIES)
def test_refusals_of_any_form_are_told_apart(status: int, body: str, kind: type[ModelError], words: str) -> None:
    error = failure(status, body, location="https://new/v1")
    assert type(error) is kind
    assert words in error.message
    assert error.message.startswith("server answered ")


def test_a_secret_in_the_answer_is_taken_out() -> None:
    error = failure(401, '{"error": {"message": "Incorrect API key provided: sk-secret"}}')
    assert error.message == "server answered 401: Incorrect API key provided: [API key]"


def test_wait_is_read_from_all_its_forms() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert failure(429, "{}", retry_after="7").retry_after == 7.0
    assert failure(429, "{}", retry_after="7", retry_after_ms="250").retry_after == 0.25
    assert 90 < (failure(429, "{}", retry_after=later).retry_after or 0) <= 100
    assert failure(429, "{}", retry_after="soon").retry_after is None
    assert failure(429, "{}").retry_after is None
