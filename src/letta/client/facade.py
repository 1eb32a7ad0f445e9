"""`Letta` and `AsyncLetta`: the official clients, set to a server of one's own.

They differ from the official classes in their defaults, in names that older clients used, and in `local`. They know
nothing of what the server does.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack

import httpx
import letta_client
from letta_client import NOT_GIVEN, NotGiven
from pydantic_settings import BaseSettings, SettingsConfigDict

from letta.client.local import URL, ThreadTransport, local_settings, running_app
from letta.client.resources import (
    Agents,
    AsyncAgents,
    AsyncBlocks,
    AsyncTools,
    Blocks,
    Tools,
)

TIMEOUT = httpx.Timeout(600.0, connect=5.0)
"""Seconds. A run with a model on one's own machine takes minutes, and what times out is sent a second time."""


class _Surroundings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LETTA_", extra="ignore")

    base_url: str = "http://localhost:8283"


class Options(TypedDict, total=False):
    """What both official clients take besides address, key and HTTP client."""

    project_id: str | None
    project: str | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None
    _strict_response_validation: bool


class Letta(letta_client.Letta):
    """A client that waits for its answers.

    `base_url` is the server's; without it `LETTA_BASE_URL`, else http://localhost:8283. `api_key`, or its older name
    `token`, is the server's password; without it `LETTA_API_KEY`. A server without a password ignores it. The other
    options are the official client's.
    """

    def __init__(
        self,
        *,
        base_url: str | httpx.URL | None = None,
        api_key: str | None = None,
        token: str | None = None,
        environment: Literal["cloud", "local"] | NotGiven = NOT_GIVEN,
        timeout: float | httpx.Timeout | NotGiven | None = NOT_GIVEN,
        http_client: httpx.Client | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            base_url=_address(base_url, environment),
            api_key=_key(api_key, token),
            environment=environment,
            timeout=TIMEOUT if isinstance(timeout, NotGiven) else timeout,
            http_client=http_client,
            **options,
        )

    @classmethod
    def local(cls, data_dir: Path | str | None = None, **settings: Any) -> Self:
        """A client of a server inside this process: no port, no second process, the same data.

        `data_dir` is the folder of the database (default: the server's, `~/.letta-server`); `settings` are those of the
        server by name, for example `scripted_models=True`. Close the client, or use it in a `with` block, so that the
        folder is free again; the end of the process closes it too.

        Raises:
            letta.errors.Conflict: a server or another process uses the folder.
            letta.errors.LettaError: the database cannot be opened.
            TypeError: there is no such setting.
        """
        transport = ThreadTransport(local_settings(data_dir, settings))
        return cls(base_url=URL, http_client=httpx.Client(transport=transport))

    @cached_property
    def agents(self) -> Agents:
        return Agents(self)

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks(self)

    @cached_property
    def tools(self) -> Tools:
        return Tools(self)


class AsyncLetta(letta_client.AsyncLetta):
    """A client to be awaited. Arguments as in `Letta`."""

    def __init__(
        self,
        *,
        base_url: str | httpx.URL | None = None,
        api_key: str | None = None,
        token: str | None = None,
        environment: Literal["cloud", "local"] | NotGiven = NOT_GIVEN,
        timeout: float | httpx.Timeout | NotGiven | None = NOT_GIVEN,
        http_client: httpx.AsyncClient | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            base_url=_address(base_url, environment),
            api_key=_key(api_key, token),
            environment=environment,
            timeout=TIMEOUT if isinstance(timeout, NotGiven) else timeout,
            http_client=http_client,
            **options,
        )

    @classmethod
    @asynccontextmanager
    async def local(cls, data_dir: Path | str | None = None, **settings: Any) -> AsyncIterator[Self]:
        """A client of a server inside this process and event loop, closed with the `async with` block.

        Arguments and errors as in `Letta.local`.
        """
        async with (
            running_app(local_settings(data_dir, settings)) as transport,
            cls(base_url=URL, http_client=httpx.AsyncClient(transport=transport)) as client,
        ):
            yield client

    @cached_property
    def agents(self) -> AsyncAgents:
        return AsyncAgents(self)

    @cached_property
    def blocks(self) -> AsyncBlocks:
        return AsyncBlocks(self)

    @cached_property
    def tools(self) -> AsyncTools:
        return AsyncTools(self)


def _address(given: str | httpx.URL | None, environment: object) -> str | httpx.URL | None:
    """The address to use; None leaves it to the official client, which knows its environments."""
    if given is not None or not isinstance(environment, NotGiven):
        return given
    return _Surroundings().base_url


def _key(api_key: str | None, token: str | None) -> str | None:
    if api_key is not None and token is not None and api_key != token:
        raise TypeError("api_key and token differ: they are two names of the server's password, give one of them")
    return api_key if api_key is not None else token
