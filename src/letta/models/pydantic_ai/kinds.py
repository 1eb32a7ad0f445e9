"""The kinds of provider reached through pydantic-ai, and how to construct each.

Provider libraries are large and partly optional, so their classes are named here as `module:Class` and loaded when a
client of that kind is made. Knows nothing about messages.
"""

import importlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from pydantic_ai.models import Model

from letta.errors import InvalidRequest

_log = logging.getLogger(__name__)

_ANY_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NINE = re.compile(r"[a-zA-Z0-9]{9}")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a provider's client is made from. `http` is None for kinds that bring their own transport."""

    api_key: str | None
    base_url: str | None
    options: Mapping[str, Any]
    http: Any = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    `model` is the pydantic-ai class, `provider` makes its provider from a `Setup`. `http` names the HTTP library the
    SDK takes a client of, None where it has its own transport. `call_id` is what the API accepts as the id of a tool
    call; `marks_errors` says that it has a place for "this result is an error", `takes_turns` that the user must begin
    and end the conversation. `extra` is the extra of this distribution that brings the SDK.
    """

    model: str
    provider: Callable[[Setup], Any]
    http: str | None = "httpx2"
    extra: str | None = None
    call_id: re.Pattern[str] = _ANY_ID
    needs_key: bool = True
    marks_errors: bool = False
    takes_turns: bool = False


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _openai(setup: Setup) -> Any:
    # Without a key the SDK would look for one in the environment, and send it to whatever address this is.
    return _load("pydantic_ai.providers.openai:OpenAIProvider")(
        base_url=setup.base_url or "https://api.openai.com/v1", api_key=setup.api_key or "none", http_client=setup.http
    )


def _azure(setup: Setup) -> Any:
    if not setup.base_url:
        raise InvalidRequest("base_url is missing: Azure needs the address of your resource.")
    return _load("pydantic_ai.providers.azure:AzureProvider")(
        azure_endpoint=setup.base_url,
        api_key=setup.api_key,
        api_version=setup.options.get("api_version"),
        http_client=setup.http,
    )


def _google(setup: Setup) -> Any:
    return _load("pydantic_ai.providers.google:GoogleProvider")(
        api_key=setup.api_key, base_url=setup.base_url, http_client=setup.http
    )


def _vertex(setup: Setup) -> Any:
    where = {name: setup.options[name] for name in ("project", "location") if setup.options.get(name)}
    key = {"api_key": setup.api_key} if setup.api_key else {}
    return _load("pydantic_ai.providers.google_cloud:GoogleCloudProvider")(
        **where, **key, base_url=setup.base_url, http_client=setup.http
    )


def _bedrock(setup: Setup) -> Any:
    provider = _load("pydantic_ai.providers.bedrock:BedrockProvider")
    access = setup.options.get("access_key")
    common = {"base_url": setup.base_url, "region_name": setup.options.get("region")}
    if not access:
        return provider(api_key=setup.api_key, **common)
    return provider(
        aws_access_key_id=access,
        aws_secret_access_key=setup.api_key,
        aws_session_token=setup.options.get("session_token"),
        **common,
    )


def _mistral(setup: Setup) -> Any:
    return _load("pydantic_ai.providers.mistral:MistralProvider")(
        api_key=setup.api_key, base_url=setup.base_url, http_client=setup.http
    )


def _cohere(setup: Setup) -> Any:
    client = _load("cohere:AsyncClientV2")(api_key=setup.api_key, base_url=setup.base_url, httpx_client=setup.http)
    return _load("pydantic_ai.providers.cohere:CohereProvider")(cohere_client=client)


KINDS: Mapping[str, Kind] = {
    "openai-responses": Kind("pydantic_ai.models.openai:OpenAIResponsesModel", _openai, needs_key=False),
    "azure": Kind("pydantic_ai.models.openai:OpenAIChatModel", _azure),
    "azure-responses": Kind("pydantic_ai.models.openai:OpenAIResponsesModel", _azure),
    "google": Kind("pydantic_ai.models.google:GoogleModel", _google, marks_errors=True, takes_turns=True),
    "google-vertex": Kind(
        "pydantic_ai.models.google:GoogleModel", _vertex, needs_key=False, marks_errors=True, takes_turns=True
    ),
    "bedrock": Kind(
        "pydantic_ai.models.bedrock:BedrockConverseModel",
        _bedrock,
        http=None,
        extra="bedrock",
        needs_key=False,
        marks_errors=True,
        takes_turns=True,
    ),
    "mistral": Kind(
        "pydantic_ai.models.mistral:MistralModel", _mistral, extra="mistral", call_id=_NINE, takes_turns=True
    ),
    "cohere": Kind("pydantic_ai.models.cohere:CohereModel", _cohere, http="httpx", extra="cohere", takes_turns=True),
}


def maker(kind: str, setup: Setup) -> Callable[[str], Model[Any]]:
    """A function that gives pydantic-ai's model for a name, always the same one for the same name.

    Raises:
        InvalidRequest: the kind is unknown, its package is not installed, or the settings do not fit it.
    """
    row = row_of(kind)
    if row.needs_key and not setup.api_key:
        raise InvalidRequest(f"api_key is missing: {kind} needs a key.")
    try:
        model, provider = _load(row.model), row.provider(setup)
    except ImportError as error:
        _log.info("%s cannot be used: %s", kind, error)
        raise InvalidRequest(
            f'{kind} needs a package that is not installed: pip install "open-letta[{row.extra}]"'
            if row.extra
            else f"{kind} needs a package that is not installed: {error}"
        ) from error
    except InvalidRequest:
        raise
    except Exception as error:  # each SDK complains about settings in a type of its own
        raise InvalidRequest(f"{kind} cannot be set up: {_without(setup.api_key, str(error))}") from error
    return lru_cache(maxsize=256)(lambda name: cast(Model[Any], model(name, provider=provider)))


def row_of(kind: str) -> Kind:
    """The row of a kind. Raises InvalidRequest when there is none."""
    if (row := KINDS.get(kind)) is None:
        raise InvalidRequest(f"kind {kind!r} is not known, must be one of {sorted(KINDS)}.")
    return row


def http_client(kind: str, **arguments: Any) -> Any:
    """A client of the HTTP library the kind's SDK uses; None for kinds with their own transport.

    Raises:
        InvalidRequest: as `maker`.
    """
    row = row_of(kind)
    if row.http is None:
        return None
    try:
        library = importlib.import_module(row.http)
    except ImportError as error:
        raise InvalidRequest(
            f'{kind} needs a package that is not installed: pip install "open-letta[{row.extra}]"'
        ) from error
    timeout = library.Timeout(arguments.pop("read_seconds"), connect=arguments.pop("connect_seconds"))
    return library.AsyncClient(timeout=timeout, **arguments)


def _without(secret: str | None, text: str) -> str:
    return text.replace(secret, "[API key]") if secret else text
