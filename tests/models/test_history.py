"""Conversations with holes, and what a provider gets to see of them."""

import pytest
from tests.models.wire import assistant, message, user

from letta.models.history import NO_RESULT, repaired
from letta.schemas.messages import (
    ApprovalPart,
    Message,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)


def calls(*ids: str) -> Message:
    return assistant("openai/gpt", *(ToolCallPart(id=id_, name="look") for id_ in ids))


def results(*ids: str) -> Message:
    return message(Role.TOOL, *(ToolReturnPart(tool_call_id=id_, content=f"of {id_}") for id_ in ids))


def approval(*parts: Part) -> Message:
    return message(Role.APPROVAL, *parts)


def shown(messages: list[Message]) -> list[object]:
    """`text` of people and models, `call id`s and `{id: content}` of results, in order."""
    out: list[object] = []
    for item in repaired(messages):
        out += [part.text for part in item.parts if isinstance(part, TextPart)]
        out += [("call", call.id) for call in item.tool_calls]
        out += [{part.tool_call_id: part.content} for part in item.tool_returns]
    return out


CASES: dict[str, tuple[list[Message], list[object]]] = {
    "healthy": ([user("a"), calls("1"), results("1")], ["a", ("call", "1"), {"1": "of 1"}]),
    "results in several messages": (
        [calls("1", "2"), results("1"), results("2")],
        [("call", "1"), ("call", "2"), {"1": "of 1"}, {"2": "of 2"}],
    ),
    "missing at the end": ([calls("1")], [("call", "1"), {"1": NO_RESULT}]),
    "missing before a person speaks": ([calls("1"), user("a")], [("call", "1"), {"1": NO_RESULT}, "a"]),
    "missing before the model speaks": (
        [calls("1"), calls("2"), results("2")],
        [("call", "1"), {"1": NO_RESULT}, ("call", "2"), {"2": "of 2"}],
    ),
    "one of two missing": (
        [calls("1", "2"), results("2"), user("a")],
        [("call", "1"), ("call", "2"), {"2": "of 2"}, {"1": NO_RESULT}, "a"],
    ),
    "late result": ([calls("1"), user("a"), results("1")], [("call", "1"), {"1": "of 1"}, "a"]),
    "orphan": ([results("9"), user("a"), results("9")], ["a"]),
    "second result": ([calls("1"), results("1"), results("1")], [("call", "1"), {"1": "of 1"}]),
    "orphan beside a result": ([calls("1"), results("1", "9")], [("call", "1"), {"1": "of 1"}]),
    "id used twice": (
        [calls("1"), results("1"), calls("1"), results("1")],
        [("call", "1"), {"1": "of 1"}, ("call", "1_2"), {"1_2": "of 1"}],
    ),
    "id used twice, first unanswered": (
        [calls("1"), user("a"), calls("1"), results("1")],
        [("call", "1"), {"1": NO_RESULT}, "a", ("call", "1_2"), {"1_2": "of 1"}],
    ),
    "approved": (
        [
            approval(ToolCallPart(id="1", name="x")),
            approval(ApprovalPart(tool_call_id="1", approve=True)),
            results("1"),
        ],
        [("call", "1"), {"1": "of 1"}],
    ),
    "denied": (
        [
            approval(ToolCallPart(id="1", name="x")),
            approval(ApprovalPart(tool_call_id="1", approve=False, reason="not now")),
            user("a"),
        ],
        [("call", "1"), {"1": "[denied] not now"}, "a"],
    ),
    "result inside an approval": (
        [calls("1"), approval(ToolReturnPart(tool_call_id="1", content="of 1"))],
        [("call", "1"), {"1": "of 1"}],
    ),
    "empty messages": ([message(Role.USER), assistant("openai/gpt"), user("a")], ["a"]),
}


@pytest.mark.parametrize(("messages", "expected"), CASES.values(), ids=CASES)
def test_every_call_is_answered_once_and_directly(messages: list[Message], expected: list[object]) -> None:
    assert shown(messages) == expected


@pytest.mark.parametrize(("messages", "expected"), CASES.values(), ids=CASES)
def test_repairing_twice_changes_nothing_more(messages: list[Message], expected: list[object]) -> None:
    once = repaired(messages)
    assert [id(item) for item in repaired(once)] == [id(item) for item in once]


def test_healthy_messages_pass_as_the_same_objects() -> None:
    messages = [user("a"), calls("1"), results("1"), assistant("openai/gpt", TextPart(text="b")), user("c")]
    assert [id(item) for item in repaired(messages)] == [id(item) for item in messages]


def test_repaired_copies_carry_no_encoding_of_the_original() -> None:
    original = results("1", "9")
    original.keep_encoding("some flavour", b"with the orphan")
    copy = repaired([calls("1"), original])[1]
    assert copy.encoded("some flavour") is None
    assert original.encoded("some flavour") == b"with the orphan"
