"""What `from letta import Letta` adds to the official client: defaults, older names, agents by name."""

import subprocess
import sys
from collections.abc import Callable

import httpx
import letta_client
import pytest

import letta
from letta.client import AgentNameError, AsyncLetta, Letta


def test_the_local_server_is_the_default() -> None:
    assert str(Letta().base_url) == "http://localhost:8283"
    assert str(AsyncLetta().base_url) == "http://localhost:8283"


def test_the_environment_names_server_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", "http://other:1234")
    monkeypatch.setenv("LETTA_API_KEY", "sesame")
    for client in (Letta(), AsyncLetta()):
        assert (str(client.base_url), client.api_key) == ("http://other:1234", "sesame")
    given = Letta(base_url="http://mine:1", api_key="mine")
    assert (str(given.base_url), given.api_key) == ("http://mine:1", "mine")


def test_the_official_environments_still_work() -> None:
    assert str(Letta(environment="cloud").base_url) == "https://api.letta.com"


def test_token_is_the_older_name_of_the_key() -> None:
    assert Letta(token="sesame").auth_headers == {"Authorization": "Bearer sesame"}
    assert AsyncLetta(token="sesame").api_key == "sesame"
    with pytest.raises(TypeError, match="api_key and token"):
        Letta(token="one", api_key="two")


def test_a_copy_keeps_what_the_client_was_told() -> None:
    copy = Letta(base_url="http://mine:1", token="sesame").with_options(max_retries=0)
    assert (type(copy), str(copy.base_url), copy.api_key, copy.max_retries) == (Letta, "http://mine:1", "sesame", 0)


def test_slow_models_are_waited_for_unless_the_caller_says_otherwise() -> None:
    assert Letta().timeout == httpx.Timeout(600, connect=5)
    assert Letta(timeout=3).timeout == 3


def test_an_agent_is_found_by_id_and_by_name(letta: Letta) -> None:
    agent = letta.agents.create(name="Bob", llm="openai/gpt-4")
    assert letta.agents.get(agent_id=agent.id).model_dump() == letta.agents.get(agent_id="Bob").model_dump()


def test_a_name_that_nobody_or_several_have_is_explained(letta: Letta) -> None:
    with pytest.raises(AgentNameError, match="no agent called 'Bob'"):
        letta.agents.get("Bob")
    twins = [letta.agents.create(name="Bob", llm="openai/gpt-4").id for _ in range(2)]
    with pytest.raises(AgentNameError) as raised:
        letta.agents.get("Bob")
    assert all(twin in str(raised.value) for twin in twins)


def test_an_unknown_id_is_the_servers_404(letta: Letta) -> None:
    with pytest.raises(letta_client.NotFoundError):
        letta.agents.get("agent-00000000-0000-4000-8000-000000000000")


def test_llm_is_the_older_name_of_model(letta: Letta) -> None:
    assert letta.agents.create(llm="openai/gpt-4").model == "openai/gpt-4"
    with pytest.raises(TypeError, match="different models"):
        letta.agents.create(llm="openai/gpt-4", model="openai/gpt-5")


def test_a_message_may_say_text_instead_of_content(letta: Letta) -> None:
    agent = letta.agents.create(llm="openai/gpt-4")
    answer = letta.agents.messages.create(agent.id, messages=[{"role": "user", "text": "echo abc"}])  # type: ignore[list-item]
    assert [message.content for message in answer.messages if message.message_type == "assistant_message"] == ["abc"]


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda c, a: c.agents.modify(a.id, name="New"), lambda c, a: c.agents.retrieve(a.id).name),
        (
            lambda c, a: c.blocks.modify(a.blocks[0].id, value="New"),
            lambda c, a: c.blocks.retrieve(a.blocks[0].id).value,
        ),
        (
            lambda c, a: c.agents.blocks.modify("human", agent_id=a.id, value="New"),
            lambda c, a: c.agents.blocks.retrieve("human", agent_id=a.id).value,
        ),
    ],
    ids=["agents.modify", "blocks.modify", "agents.blocks.modify"],
)
def test_older_names_of_methods_work(
    letta: Letta, change: Callable[[Letta, object], object], read: Callable[[Letta, object], str]
) -> None:
    agent = letta.agents.create(llm="openai/gpt-4", memory_blocks=[{"label": "human", "value": "Old"}])
    change(letta, agent)
    assert read(letta, agent) == "New"


def test_create_stream_is_the_older_name_of_streaming(letta: Letta) -> None:
    agent = letta.agents.create(llm="openai/gpt-4")
    with letta.agents.messages.create_stream(agent.id, messages=[{"role": "user", "content": "echo abc"}]) as frames:
        said = [frame.message_type for frame in frames if frame.message_type != "ping"]
    assert said == ["assistant_message", "stop_reason", "usage_statistics"]


def test_importing_letta_loads_no_client_and_no_server() -> None:
    heavy = "[name for name in ('letta_client', 'httpx', 'fastapi', 'sqlalchemy', 'pydantic') if name in sys.modules]"
    code = f"import sys, letta; print({heavy}, letta.__version__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == f"[] {letta.__version__}\n"


def test_the_public_names_are_there() -> None:
    assert (letta.Letta, letta.AsyncLetta) == (Letta, AsyncLetta)
    assert dir(letta) == ["AsyncLetta", "Letta", "__version__"]
    with pytest.raises(AttributeError, match="no attribute 'Lettta'"):
        _ = letta.Lettta
