"""Streams that break off and go on, through both official SDKs: the rest, all of it again, errors."""

import json
import subprocess
from typing import Any

import pytest
from letta_client import APIStatusError, Letta, NotFoundError
from tests.contract.calls import call
from tests.contract.process import ServerProcess
from tests.contract.test_typescript import SDK, node

__all__ = ["node"]

UNKNOWN = "run-00000000-0000-4000-8000-000000000000"


def kinds(frames: Any) -> list[str]:
    return [frame.message_type for frame in frames]


@pytest.mark.parametrize("tokens", [False, True])
def test_python_sdk_gets_the_rest_of_a_stream_it_left(client: Letta, tokens: bool) -> None:
    agent = client.agents.create(model="openai/gpt-4o-mini", memory_blocks=[{"label": "human", "value": ""}])
    insert = {"call": "memory_insert", "args": {"label": "human", "new_string": "Likes tea."}}
    said = f"!script {json.dumps([['I note it.', insert], 'one two three four'])}"
    stream = client.agents.messages.create(
        agent.id, input=said, streaming=True, stream_tokens=tokens, background=True, include_pings=True
    )
    seen: list[Any] = []
    with stream:
        for frame in stream:
            seen.append(frame)
            if getattr(frame, "seq_id", None) == 2:
                break
    [ping, *begun] = seen
    run_id = ping.run_id
    rest: list[Any] = list(
        call(
            client.runs.messages.stream,
            unset={"agent_id", "otid", "body_run_id"},
            path_run_id=run_id,
            starting_after=2,
            include_pings=False,
            batch_size=10,
            poll_interval=0.5,
        )
    )
    again: list[Any] = list(client.runs.messages.stream(run_id, include_pings=False))
    assert ping.message_type == "ping"
    assert kinds(rest)[-2:] == ["stop_reason", "usage_statistics"]
    assert [frame.seq_id for frame in (*begun, *rest[:-2])] == list(range(1, len(begun) + len(rest) - 1))
    assert again == [*begun, *rest]
    text = "".join(frame.content for frame in again if frame.message_type == "assistant_message")
    assert text == "I note it.one two three four"
    client.agents.delete(agent.id)


def test_python_sdk_hears_how_a_run_failed_and_which_is_unknown(client: Letta) -> None:
    agent = client.agents.create(model="openai/gpt-4o-mini")
    run = client.agents.messages.create_async(agent.id, input="!error rate_limit")
    with pytest.raises(APIStatusError) as failed:
        list(client.runs.messages.stream(run.id))
    assert failed.value.body["error_type"] == "llm_rate_limit"  # type: ignore[index]  # the SDK types it as object
    with pytest.raises(NotFoundError):
        client.runs.messages.stream(UNKNOWN)
    client.agents.delete(agent.id)


def test_typescript_sdk_gets_the_rest_of_a_stream_it_left(node: str, server: ServerProcess) -> None:
    done = subprocess.run(
        [node, SDK / "streams.mjs", server.url], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "begun": ["ping", "assistant_message", "assistant_message"],
        "text": "one two three four",
        "numbers": True,
        "end": ["stop_reason", "usage_statistics"],
        "again": True,
        "error": ["APIError", True],
        "missing": True,
    }


BROWSER = """
const base = process.argv[1];
const EventSource = class extends globalThis.EventSource {
  constructor(path) { super(base + path); made.push(this); }
};
const made = [], seen = [];
%s
const source = (follow(process.argv[2], (frame) => seen.push(frame.message_type)), made[0]);
const wait = setInterval(() => {
  if (source.readyState !== 2) return;
  clearInterval(wait);
  process.stdout.write(JSON.stringify(seen));
}, 10);
"""
"""A page as far as the sample needs one. The state 2 is `closed`."""


@pytest.mark.parametrize("closes", [True, False])
def test_event_source_shows_a_run_once_and_comes_to_rest(
    node: str, client: Letta, server: ServerProcess, closes: bool
) -> None:
    agent = client.agents.create(model="openai/gpt-4o-mini")
    run = client.agents.messages.create_async(agent.id, input="echo one two three")
    sample = (SDK.parents[1] / "docs_src/streaming/browser.js").read_text(encoding="utf-8")
    if not closes:
        # It comes back after the end then, and is told that there is no more.
        sample = sample.replace("source.close()", "undefined")
    done = subprocess.run(
        [node, "--experimental-eventsource", "--no-warnings", "-e", BROWSER % sample, server.url, run.id],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["ping", "assistant_message", "stop_reason", "usage_statistics"]
    client.agents.delete(agent.id)
