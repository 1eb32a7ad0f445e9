"""What must be true of a server after it was killed many times."""

import asyncio
import time
from collections import Counter
from typing import Any

from tests.crash.talkers import Stream, Talker

SETTLED_WITHIN = 90.0
LAST_MARK = "last"
_TEXT = {"assistant_message": "content", "reasoning_message": "reasoning"}


async def settle(talker: Talker) -> None:
    """Every run ends, the agent answers the next message and carries out the next call."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while active := await _get(talker, f"/v1/runs?agent_id={talker.agent_id}&active=true&limit=100"):
        assert time.monotonic() < deadline, f"stuck: {[run['id'] for run in active]}"
        await asyncio.sleep(0.2)
    answer = await talker.request("POST", f"/v1/agents/{talker.agent_id}/messages", {"input": "echo still here"})
    assert answer is not None
    assert answer.json()["messages"][-1]["content"] == "still here", answer.text
    await talker.mark(LAST_MARK)


async def check(talker: Talker) -> None:
    """Nothing acknowledged is lost, nothing is there twice, nothing is broken."""
    listed = await _everything(talker)
    _check_said(talker, listed)
    _check_transcript(listed)
    await _check_marks(talker)
    stored = {message["id"]: message for message in listed}
    for stream in talker.streams:
        _check_stream(stream, [message for message in stored.values() if message["run_id"] == stream.run_id])


def _check_said(talker: Talker, listed: list[dict[str, Any]]) -> None:
    """What the user said is there once, and so is what was answered."""
    times = Counter(message["content"] for message in listed if message["message_type"] == "user_message")
    assert {text: times[text] for text in talker.said if times[text] != 1} == {}
    ids = {message["id"] for message in listed}
    lost = {text: answer for text, answer in talker.answered.items() if not ids.issuperset(answer)}
    assert lost == {}


def _check_transcript(listed: list[dict[str, Any]]) -> None:
    """Every call has one result, right after it."""
    open_calls: set[str] = set()
    for message in listed:
        kind = message["message_type"]
        if kind == "tool_call_message":
            assert not open_calls, f"{open_calls} have no result"
            open_calls = {call["tool_call_id"] for call in message["tool_calls"]}
        elif kind == "tool_return_message":
            for result in message["tool_returns"]:
                assert result["tool_call_id"] in open_calls, f"{result['tool_call_id']} was not open"
                open_calls.remove(result["tool_call_id"])
        elif kind in ("user_message", "assistant_message"):
            assert not open_calls, f"{open_calls} have no result"
    assert not open_calls


async def _check_marks(talker: Talker) -> None:
    """An unsafe tool was never carried out twice for one call."""
    passages = await _get(talker, f"/v1/agents/{talker.agent_id}/archival-memory?limit=1000")
    assert len(passages) < 1000, "more marks than one page shows"
    times = Counter(passage["text"].removeprefix("mark ") for passage in passages)
    assert {name: count for name, count in times.items() if count > 1} == {}
    assert set(times) <= set(talker.marks)
    # Nothing interrupted the last call, so its effect is there: the tool really does something.
    assert times[LAST_MARK] == 1, passages


def _check_stream(stream: Stream, stored: list[dict[str, Any]]) -> None:
    """Every frame came once, and the pieces of each stored message are that message."""
    numbers = [frame["seq_id"] for frame in stream.frames if frame.get("seq_id") is not None]
    assert numbers == sorted(set(numbers)), f"{stream.run_id}: {numbers}"
    assert stored, f"{stream.run_id} has no messages"
    kinds = [frame["message_type"] for frame in stream.frames]
    assert kinds.count("stop_reason") == 1, kinds
    for message in stored:
        name = _TEXT.get(message["message_type"])
        if name is not None:
            pieces = [f[name] for f in stream.frames if f.get("id") == message["id"] and name in f]
            assert "".join(pieces) == message[name], f"{stream.run_id}: {message['id']}"


async def _everything(talker: Talker) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while page := await _get(talker, f"/v1/agents/{talker.agent_id}/messages?order=asc&limit=1000{after}"):
        found += page
        after = f"&after={page[-1]['id']}"
    return found


async def _get(talker: Talker, path: str) -> Any:
    answer = await talker.request("GET", path)
    assert answer is not None, f"no answer to {path}"
    assert answer.status_code == 200, answer.text
    return answer.json()
