"""Reading frames: the shapes a stream can take."""

from typing import Any

import pytest

from openharness.types import (
    ExecutionEvent,
    TextEvent,
    ThinkingEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
    ToolResultEvent,
    UsageStats,
)
from openharness_letta.errors import RunFailed
from openharness_letta.frames import FrameReader


def read(reader: FrameReader, *frames: dict[str, Any]) -> list[ExecutionEvent]:
    return [event for frame in frames for event in reader.read(frame)]


def delta(otid: str, **part: Any) -> dict[str, Any]:
    return {"message_type": "tool_call_message", "id": "m", "otid": otid, "tool_call": part, "tool_calls": part}


def returned(call_id: str, **more: Any) -> dict[str, Any]:
    part = {"tool_call_id": call_id, "status": "success", "tool_return": "ok", **more}
    return {"message_type": "tool_return_message", "id": "r", "tool_returns": [part]}


def test_deltas_without_an_id_belong_to_the_call_of_their_message() -> None:
    reader = FrameReader()
    events = read(
        reader,
        delta("1", tool_call_id="a", name="add", arguments=""),
        delta("2", tool_call_id="b", name="sub", arguments=None),
        delta("1", arguments='{"x":'),
        delta("2", arguments='{"y": 2}'),
        delta("1", arguments=" 1}"),
    )
    assert events == [
        ToolCallStartEvent(id="b", name="sub", input={"y": 2}),
        ToolCallStartEvent(id="a", name="add", input={"x": 1}),
    ]


def test_whole_message_after_its_deltas_starts_no_second_call() -> None:
    reader = FrameReader()
    whole = {"message_type": "tool_call_message", "id": "m", "otid": "1"}
    call = {"tool_call_id": "a", "name": "add", "arguments": '{"x": 1}'}
    events = read(reader, delta("1", **call), {**whole, "tool_call": call, "tool_calls": [call]})
    assert events == [ToolCallStartEvent(id="a", name="add", input={"x": 1})]


def test_call_without_arguments_starts_when_something_else_comes_but_not_at_a_ping() -> None:
    reader = FrameReader()
    assert read(reader, delta("1", tool_call_id="a", name="now", arguments=""), {"message_type": "ping"}) == []
    assert read(reader, returned("a")) == [
        ToolCallStartEvent(id="a", name="now"),
        ToolResultEvent(id="a", success=True, output="ok"),
        ToolCallEndEvent(id="a"),
    ]


def test_older_servers_tell_one_return_at_the_top_of_the_frame() -> None:
    reader = FrameReader()
    frame = {
        "message_type": "tool_return_message",
        "id": "r",
        "name": "add",
        "tool_call_id": "a",
        "status": "error",
        "tool_return": "",
        "stderr": ["line 1", "line 2"],
    }
    assert read(reader, frame, frame) == [
        ToolCallStartEvent(id="a", name="add"),
        ToolResultEvent(id="a", success=False, error="line 1\nline 2"),
        ToolCallEndEvent(id="a"),
    ]


def test_returns_and_replies_may_come_in_parts() -> None:
    reader = FrameReader()
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    events = read(
        reader, {"message_type": "assistant_message", "id": "1", "content": parts}, returned("a", tool_return=parts)
    )
    assert events[0] == TextEvent(content="ab")
    assert events[2] == ToolResultEvent(id="a", success=True, output="ab")


def test_hidden_reasoning_is_thinking_only_where_there_is_a_text() -> None:
    reader = FrameReader()
    hidden = {"message_type": "hidden_reasoning_message", "id": "1", "state": "redacted", "hidden_reasoning": None}
    assert read(reader, hidden, {**hidden, "hidden_reasoning": "Hm."}) == [ThinkingEvent(thinking="Hm.")]


def test_empty_pieces_make_no_event() -> None:
    reader = FrameReader()
    contents: list[Any] = ["", None, []]
    empty = [{"message_type": "assistant_message", "id": "1", "content": content} for content in contents]
    assert read(reader, *empty) == []


def test_messages_are_parted_by_line_breaks_whatever_comes_between() -> None:
    reader = FrameReader()
    text, thought = "assistant_message", "reasoning_message"
    events = read(
        reader,
        {"message_type": text, "otid": "1", "content": "a"},
        {"message_type": thought, "otid": "2", "reasoning": "x"},
        {"message_type": text, "otid": "1", "content": "b"},
        {"message_type": text, "otid": "3", "content": "c"},
        {"message_type": text, "otid": "3", "content": "d"},
    )
    assert "".join(event.content for event in events if isinstance(event, TextEvent)) == reader.output == "ab\ncd"


def test_usage_adds_up_and_bears_nulls() -> None:
    reader = FrameReader()
    read(
        reader,
        {"message_type": "usage_statistics", "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        {"message_type": "usage_statistics", "prompt_tokens": None, "completion_tokens": 4},
    )
    assert reader.usage == UsageStats(input_tokens=1, output_tokens=6, total_tokens=7)


def test_error_frame_without_an_event_name_fails_the_run() -> None:
    with pytest.raises(RunFailed, match="llm_timeout: too slow"):
        FrameReader().read({"message_type": "error_message", "error_type": "llm_timeout", "message": "too slow"})


@pytest.mark.parametrize("kind", ["ping", "user_message", "system_message", "approval_response_message", "brand_new"])
def test_other_frames_make_no_event(kind: str) -> None:
    assert FrameReader().read({"message_type": kind, "id": "1", "content": "x"}) == []
