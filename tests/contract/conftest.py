"""One server process for all contract tests, and the official client pointed at it in its strict mode."""

from collections.abc import Iterator

import pytest
from letta_client import Letta
from tests.contract.process import ServerProcess, running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[Letta]:
    """Strict: an answer that does not fit the client's types fails the test."""
    with _official(server) as official:
        yield official


@pytest.fixture
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Letta]:
    """A client of a server that sends a keep-alive after every 0.1 s of silence."""
    with (
        running_server(tmp_path_factory.mktemp("impatient"), LETTA_PING_INTERVAL="0.1") as running,
        _official(running) as official,
    ):
        yield official


def _official(server: ServerProcess) -> Letta:
    return Letta(base_url=server.url, api_key="any", max_retries=0, _strict_response_validation=True)
