"""What is particular about Anthropic's messages protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.models.wire import KEY, Say, Speech, assistant, message, tool, user
from tests.models.wire_anthropic import ANTHROPIC
from tests.models.wire_server import Reply, WireServer, json_reply, running, sse

from letta.errors import ModelBadRequest
from letta.models.anthropic import Anthropic
from letta.models.protocol import Answer, ModelCard, ModelParameters, ModelRequest, collect
from letta.schemas.messages import (
    OmittedReasoningPart,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

pytestmark = pytest.mark.anyio

OK = ANTHROPIC.speak(Speech(Say("ok")))
LOOK = tool("look", at="string")
MARK = {"type": "ephemeral"}
OLD, MIDDLE, NEW = "claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-opus-5-5"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with running() as found:
        yield found


async def ask(server: WireServer, *replies: Reply, model: str = OLD, **fields: Any) -> Answer:
    server.will(*replies)
    fields = {"system": ("Be.",), "messages": [user("Hi")], **fields}
    claude = Anthropic(server.url, KEY)
    try:
        async with asyncio.timeout(10):
            return await collect(claude.stream(ModelRequest(model=model, handle=f"anthropic/{model}", **fields)))
    finally:
        await claude.aclose()


def refusal(text: str) -> Reply:
    return json_reply({"type": "error", "error": {"type": "invalid_request_error", "message": text}}, 400)


async def test_whole_request(server: WireServer) -> None:
    parameters = ModelParameters(temperature=0.5, max_output_tokens=100)
    await ask(server, OK, tools=(LOOK,), parameters=parameters)
    asked = server.asked[0]
    assert asked.path == "/v1/messages"
    assert asked.headers["x-api-key"] == KEY
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert "anthropic-beta" not in asked.headers
    assert asked.json == {
        "model": OLD,
        "max_tokens": 100,
        "stream": True,
        "temperature": 0.5,
        "tools": [
            {
                "name": "look",
                "description": "The tool look.",
                "input_schema": LOOK.parameters,
                "cache_control": MARK,
            }
        ],
        "system": [{"type": "text", "text": "Be.", "cache_control": MARK}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": MARK}]}],
    }
    assert list(asked.json)[-1] == "messages"


async def test_cache_marks_stand_at_stable_ends_and_are_four_at_most(server: WireServer) -> None:
    handle = f"anthropic/{OLD}"
    history = [user("1"), assistant(handle, TextPart(text="a")), user("2"), assistant(handle, TextPart(text="b"))]
    await ask(server, OK, tools=(LOOK,), system=("Base.", "Tools.", "Memory."), messages=[*history, user("3")])
    body = server.asked[0].json
    assert ["cache_control" in block for block in body["system"]] == [True, False, True]
    assert ["cache_control" in turn["content"][-1] for turn in body["messages"]] == [False, False, True, False, True]
    assert "cache_control" not in body["tools"][-1]  # the mark of the system prompt covers the tools before it
    assert server.asked[0].body.count(b'"cache_control"') == 4


async def test_results_come_first_and_neighbours_are_merged(server: WireServer) -> None:
    calls = [ToolCallPart(id=f"toolu_{n}", name="look", arguments='{"at":"x"}') for n in (1, 2)]
    history = [
        assistant("anthropic/claude", TextPart(text="Earlier."), TextPart(text="  ")),
        user("One"),
        user(" "),
        message(Role.SYSTEM, TextPart(text="Note.")),
        assistant("anthropic/claude", *calls),
        message(Role.TOOL, ToolReturnPart(tool_call_id="toolu_1", content="a")),
        message(Role.TOOL, ToolReturnPart(tool_call_id="toolu_2", status="error", content=(TextPart(text="b"),))),
        user("Two"),
    ]
    await ask(server, OK, messages=history)
    body = server.asked[0].body.replace(b',"cache_control":{"type":"ephemeral"}', b"")
    assert type(server.asked[0])("", "", {}, body).json["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "[The conversation starts earlier.]"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Earlier."}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "<system>\nNote.\n</system>"}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"at": "x"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [{"type": "text", "text": "b"}],
                    "is_error": True,
                },
                {"type": "text", "text": "Two"},
            ],
        },
    ]


async def test_conversation_without_a_users_end_gets_one(server: WireServer) -> None:
    await ask(server, OK, OK, messages=[])
    await ask(server, messages=[user("Hi"), assistant("anthropic/claude", TextPart(text="Hello"))])
    last = [asked.json["messages"][-1] for asked in server.asked]
    wanted = {"role": "user", "content": [{"type": "text", "text": "[Continue.]", "cache_control": MARK}]}
    assert last == [wanted, wanted]


async def test_redacted_and_omitted_thinking_come_back_unchanged(server: WireServer) -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk/+=="},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "text", "text": "ok"},
    ]
    events: list[Any] = [{"type": "message_start", "message": {"id": "msg_1"}}]
    events += [{"type": "content_block_start", "index": at, "content_block": block} for at, block in enumerate(blocks)]
    events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
    answer = await ask(server, Reply(sse(*events)))
    assert answer.parts == (
        RedactedReasoningPart(data="ZW5jcnlwdGVk/+=="),
        OmittedReasoningPart(signature="c2ln"),
        TextPart(text="ok"),
    )
    await ask(server, OK, messages=[user("Hi"), assistant("anthropic/x", *answer.parts), user("And?")])
    assert server.asked[1].json["messages"][1]["content"] == blocks


async def test_thinking_alone_is_not_sent_as_a_turn(server: WireServer) -> None:
    lost = assistant("anthropic/x", ReasoningPart(reasoning="hm", signature="c2ln"))
    await ask(server, OK, messages=[user("One"), lost, user("Two")])
    assert [turn["role"] for turn in server.asked[0].json["messages"]] == ["user"]


SUMMARIZED = {"type": "adaptive", "display": "summarized"}
BOUND = {**SUMMARIZED, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
THINKING: dict[str, tuple[str, ModelParameters, Any]] = {
    "old, unsaid": (OLD, ModelParameters(), None),
    "old, off": (OLD, ModelParameters(thinking=False), None),
    "old, on": (OLD, ModelParameters(thinking=True), {"type": "enabled", "budget_tokens": 8192}),
    "old, budget": (OLD, ModelParameters(thinking_budget=2000), {"type": "enabled", "budget_tokens": 2000}),
    "old, too small a budget": (OLD, ModelParameters(thinking_budget=5), {"type": "enabled", "budget_tokens": 1024}),
    "middle, unsaid": (MIDDLE, ModelParameters(), None),
    "middle, on": (MIDDLE, ModelParameters(thinking=True), {"type": "adaptive"}),
    "middle, budget": (MIDDLE, ModelParameters(thinking_budget=2000), {"type": "enabled", "budget_tokens": 2000}),
    "middle, off": (MIDDLE, ModelParameters(thinking=False), {"type": "disabled"}),
    "thinks by itself": ("claude-sonnet-5", ModelParameters(), SUMMARIZED),
    "thinks by itself, off": ("claude-sonnet-5", ModelParameters(effort="none"), {"type": "disabled"}),
    "bound": (NEW, ModelParameters(), BOUND),
    "bound, budget": (NEW, ModelParameters(thinking=True, thinking_budget=2000), BOUND),
    "cannot be off": (NEW, ModelParameters(thinking=False), None),
    "off by another word": ("claude-sonnet-5-5", ModelParameters(thinking=False), {"type": "between_tools"}),
}


@pytest.mark.parametrize(("model", "parameters", "sent"), THINKING.values(), ids=THINKING)
async def test_thinking_is_asked_for_as_the_model_takes_it(
    server: WireServer, model: str, parameters: ModelParameters, sent: Any
) -> None:
    await ask(server, OK, model=model, parameters=parameters)
    assert server.asked[0].json.get("thinking") == sent
    has_binding = "thinking-binding-controls" in server.asked[0].headers.get("anthropic-beta", "")
    assert has_binding == ("block_binding" in (sent or {}))


async def test_temperature_goes_only_where_it_is_taken(server: WireServer) -> None:
    hot = ModelParameters(temperature=0.5)
    await ask(server, OK, parameters=hot)
    await ask(server, OK, parameters=ModelParameters(temperature=0.5, thinking=True))
    await ask(server, OK, model=NEW, parameters=hot)
    assert [asked.json.get("temperature") for asked in server.asked] == [0.5, None, None]


async def test_budget_lies_inside_the_output_limit(server: WireServer) -> None:
    await ask(server, OK, parameters=ModelParameters(thinking_budget=4000, max_output_tokens=1000))
    assert server.asked[0].json["max_tokens"] == 5000


async def test_thinking_between_calls_is_asked_for_with_tools(server: WireServer) -> None:
    await ask(server, OK, tools=(LOOK,), parameters=ModelParameters(thinking=True))
    assert server.asked[0].headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"


async def test_turn_begun_without_thinking_goes_on_without(server: WireServer) -> None:
    history = [
        user("Hi"),
        assistant("openai/gpt", ToolCallPart(id="toolu_1", name="look")),
        message(Role.TOOL, ToolReturnPart(tool_call_id="toolu_1", content="x")),
    ]
    await ask(server, OK, tools=(LOOK,), messages=history, parameters=ModelParameters(thinking_budget=2000))
    assert "thinking" not in server.asked[0].json


@pytest.mark.parametrize(
    ("choice", "parallel", "model", "sent"),
    [
        ("auto", None, OLD, None),
        ("auto", False, OLD, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", None, OLD, {"type": "any"}),
        ("look", False, OLD, {"type": "tool", "name": "look", "disable_parallel_tool_use": True}),
        ("none", None, OLD, {"type": "none"}),
        ("required", None, NEW, None),
    ],
)
async def test_tool_choice(server: WireServer, choice: str, parallel: bool | None, model: str, sent: Any) -> None:
    parameters = ModelParameters(parallel_tool_calls=parallel)
    await ask(server, OK, model=model, tools=(LOOK,), tool_choice=choice, parameters=parameters)
    assert server.asked[0].json.get("tool_choice") == sent


async def test_forced_call_is_asked_for_without_a_thinking_budget(server: WireServer) -> None:
    parameters = ModelParameters(thinking_budget=2000)
    await ask(server, OK, tools=(LOOK,), tool_choice="required", parameters=parameters)
    assert "thinking" not in server.asked[0].json


async def test_effort_goes_where_it_is_taken(server: WireServer) -> None:
    for model in (OLD, MIDDLE):
        await ask(server, OK, model=model, parameters=ModelParameters(effort="minimal"))
    assert [asked.json.get("output_config") for asked in server.asked] == [None, {"effort": "low"}]


async def test_answer_schema_is_closed_at_every_level(server: WireServer) -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"list": {"type": "array", "items": inner}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    await ask(server, OK, parameters=ModelParameters(response_format=wanted))
    closed = {**inner, "additionalProperties": False}
    assert server.asked[0].json["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {"list": {"type": "array", "items": closed}},
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize(
    ("model", "wanted", "words"),
    [
        (OLD, {"type": "json_object"}, "no JSON mode without a schema"),
        ("claude-3-7-sonnet", {"type": "json_schema", "json_schema": {"schema": {}}}, "cannot answer by a JSON schema"),
    ],
)
async def test_formats_that_do_not_exist_are_refused_in_words(
    server: WireServer, model: str, wanted: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelBadRequest, match=words):
        await ask(server, model=model, parameters=ModelParameters(response_format=wanted))
    assert server.asked == []


THOUGHT = assistant("anthropic/x", ReasoningPart(reasoning="hm", signature="c2ln"), TextPart(text="Hello"))
LESSONS: dict[str, tuple[str, ModelParameters, str, Any, Any]] = {
    "temperature": (
        "`temperature` is deprecated for this model.",
        ModelParameters(temperature=0.5),
        "temperature",
        0.5,
        None,
    ),
    "budget": (
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".',
        ModelParameters(thinking=True),
        "thinking",
        {"type": "enabled", "budget_tokens": 8192},
        SUMMARIZED,
    ),
    "binding": (
        "messages.1.content.0: Invalid `signature` in `thinking` block. It is bound to a different conversation.",
        ModelParameters(),
        "thinking",
        None,
        {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}},
    ),
}


@pytest.mark.parametrize(("words", "parameters", "field", "first", "then"), LESSONS.values(), ids=LESSONS)
async def test_models_unknown_by_name_are_learned_from_their_refusals(
    server: WireServer, words: str, parameters: ModelParameters, field: str, first: Any, then: Any
) -> None:
    server.will(refusal(words), OK, OK)
    claude = Anthropic(server.url, KEY)
    request = ModelRequest("some-new-model", (), [user("Hi"), THOUGHT, user("And?")], parameters=parameters)
    for _ in range(2):
        await collect(claude.stream(request))
    await claude.aclose()
    assert [asked.json.get(field) for asked in server.asked] == [first, then, then]


async def test_thinking_with_a_foreign_signature_is_left_out_of_that_request(server: WireServer) -> None:
    words = "messages.1.content.0: Invalid `signature` in `thinking` block"
    await ask(server, refusal(words), OK, messages=[user("Hi"), THOUGHT, user("And?")])
    kinds = [[block["type"] for block in asked.json["messages"][1]["content"]] for asked in server.asked]
    assert kinds == [["thinking", "text"], ["text"]]


async def test_pause_is_an_end_of_its_own_kind(server: WireServer) -> None:
    events = [
        {"type": "message_start", "message": {"id": "msg_1"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "wait"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "something_new", "x": 1}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "new_delta"}},
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}},
        {"type": "message_stop"},
    ]
    answer = await ask(server, Reply(sse(*events)))
    assert (answer.parts, answer.finish_reason) == ((TextPart(text="wait"),), "other")


async def test_models_are_listed_over_all_pages(server: WireServer) -> None:
    first = {"id": "claude-a", "display_name": "A", "max_input_tokens": 200000, "max_tokens": 64000}
    server.will(
        json_reply({"data": [first], "has_more": True, "last_id": "claude-a"}),
        json_reply({"data": [{"id": "claude-b"}], "has_more": False}),
    )
    claude = Anthropic(f"{server.url}/v1/", KEY)
    assert await claude.list_models() == [ModelCard("claude-a", 200000, 64000, "A"), ModelCard("claude-b")]
    await claude.aclose()
    assert [asked.path for asked in server.asked] == [
        "/v1/models?limit=1000",
        "/v1/models?limit=1000&after_id=claude-a",
    ]


async def test_request_shown_beforehand_is_the_one_that_is_sent(server: WireServer) -> None:
    server.will(OK)
    request = ModelRequest(OLD, handle=f"anthropic/{OLD}", system=("Be.",), messages=[user("Hi")], tools=(LOOK,))
    claude = Anthropic(server.url, KEY)
    shown = claude.payload(request)
    await collect(claude.stream(request))
    await claude.aclose()
    assert json.loads(shown) == server.asked[-1].json
