"""`Letta.local`: the whole server in the caller's process, with the same client."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import letta_client
import pytest
from tests.client.conftest import LOCAL

from letta.client import AsyncLetta, Letta
from letta.client.local import ThreadTransport, local_settings
from letta.errors import Conflict, InvalidRequest
from letta.store.lock import Holder, holder, take


def test_what_one_client_stores_the_next_one_finds(tmp_path: Path) -> None:
    with Letta.local(tmp_path, **LOCAL) as client:
        agent = client.agents.create(name="Bob", llm="openai/gpt-4", memory_blocks=[{"label": "human", "value": ""}])
        client.agents.messages.create(agent.id, input="My name is Alice.")
    with Letta.local(tmp_path, **LOCAL) as client:
        answer = client.agents.messages.create(agent.id, input="What is my name?")
        assert "Alice" in str(answer.messages[-1])


async def test_the_async_client_does_the_same(tmp_path: Path) -> None:
    async with AsyncLetta.local(tmp_path, **LOCAL) as client:
        agent = await client.agents.create(name="Bob", llm="openai/gpt-4")
        assert (await client.agents.get("Bob")).model_dump() == (await client.agents.retrieve(agent.id)).model_dump()
        await client.agents.modify(agent.id, name="Rob")
        stream = await client.agents.messages.create_stream(
            agent.id, messages=[{"role": "user", "content": "echo a b c"}], stream_tokens=True
        )
        said = [frame.content async for frame in stream if frame.message_type == "assistant_message"]
    assert "".join(map(str, said)) == "a b c"
    assert len(said) > 1


def test_tokens_arrive_while_the_answer_is_written(letta: Letta) -> None:
    agent = letta.agents.create(llm="openai/gpt-4")
    with letta.agents.messages.create(agent.id, input="write 3000 words", streaming=True, stream_tokens=True) as frames:
        first = next(frame for frame in frames if frame.message_type == "assistant_message")
        [run] = letta.runs.list(agent_id=agent.id).items
        assert (run.status, bool(first.content)) == ("running", True)


def test_a_reader_that_leaves_does_not_end_the_run(letta: Letta) -> None:
    agent = letta.agents.create(llm="openai/gpt-4")
    with letta.agents.messages.create(agent.id, input="write 300 words", streaming=True, stream_tokens=True) as frames:
        next(iter(frames))
    # The next message waits for its turn, so the run before it has ended when it is answered.
    letta.agents.messages.create(agent.id, input="echo abc")
    assert [run.status for run in letta.runs.list(agent_id=agent.id)] == ["completed", "completed"]


def test_several_threads_may_use_one_client(letta: Letta) -> None:
    agents = [letta.agents.create(name=f"agent {number}", llm="openai/gpt-4") for number in range(4)]
    answers: dict[str, str] = {}

    def talk(agent_id: str, word: str) -> None:
        said = letta.agents.messages.create(agent_id, input=f"echo {word}").messages
        answers[agent_id] = "".join(str(one.content) for one in said if one.message_type == "assistant_message")

    threads = [threading.Thread(target=talk, args=(agent.id, agent.name)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {agent.id: agent.name for agent in agents}


def test_a_folder_in_use_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    with Letta.local(tmp_path, **LOCAL), pytest.raises(Conflict, match=f"in use by process {os.getpid()}"):
        Letta.local(tmp_path, **LOCAL)
    Letta.local(tmp_path, **LOCAL).close()


async def test_a_folder_in_use_is_refused_to_the_async_client_too(tmp_path: Path, letta: Letta) -> None:
    with pytest.raises(Conflict):
        async with AsyncLetta.local(tmp_path, **LOCAL):
            pass


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match="unknown setting 'scripted_model'"):
        Letta.local("unused", scripted_model=True)


def test_a_server_password_is_not_asked_for_inside_the_process(tmp_path: Path) -> None:
    with Letta.local(tmp_path, server_password="sesame", **LOCAL) as client:
        assert client.agents.list().items == []


def test_closing_twice_is_fine_and_a_closed_client_says_so(tmp_path: Path) -> None:
    client = Letta.local(tmp_path, **LOCAL).with_options(max_retries=0)
    client.close()
    client.close()
    with pytest.raises((letta_client.APIConnectionError, RuntimeError)):
        client.agents.list()


def test_closing_answers_those_who_still_wait(tmp_path: Path) -> None:
    client = Letta.local(tmp_path, **{**LOCAL, "shutdown_grace": 0.0, "scripted_latency": 50})
    agent = client.agents.create(llm="openai/gpt-4")
    frames = client.agents.messages.create(agent.id, input="hello", streaming=True)
    next(frames)
    told: list[str] = []

    def read() -> None:
        try:
            list(frames)
        except letta_client.APIError as error:
            told.append(error.message)

    reader = threading.Thread(target=read)
    reader.start()
    client.close()
    reader.join()
    assert len(told) == 1
    assert "The run was interrupted" in told[0]


def test_a_caller_may_limit_the_wait_for_an_answer(tmp_path: Path) -> None:
    with Letta.local(tmp_path, **{**LOCAL, "shutdown_grace": 0.0, "scripted_latency": 50}) as client:
        agent = client.agents.create(llm="openai/gpt-4")
        with pytest.raises(letta_client.APITimeoutError):
            client.with_options(max_retries=0, timeout=0.05).agents.messages.create(agent.id, input="hello")


def test_a_process_that_forgets_to_close_ends_and_loses_nothing(tmp_path: Path) -> None:
    code = f"""
        from letta import Letta
        client = Letta.local({str(tmp_path)!r}, **{LOCAL!r})
        client.agents.create(name="Bob", llm="openai/gpt-4")
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    with Letta.local(tmp_path, **LOCAL) as client:
        assert [agent.name for agent in client.agents.list()] == ["Bob"]


def test_a_start_that_fails_leaves_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("no key")
    with pytest.raises(InvalidRequest, match="holds no key"):
        ThreadTransport(local_settings(tmp_path, dict(LOCAL)))
    (tmp_path / "secret.key").unlink()
    Letta.local(tmp_path, **LOCAL).close()


def test_a_lock_is_free_once_its_holder_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "letta.db.lock"
    assert holder(path) is None
    held = take(path)
    held.describe("http://localhost:1")
    assert holder(path) == Holder(os.getpid(), "http://localhost:1")
    with pytest.raises(Conflict, match="by the server at http://localhost:1"):
        take(path)
    held.release()
    assert holder(path) is None
    take(path).release()
