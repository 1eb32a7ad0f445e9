"""Habits of particular servers with the chat completions protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.models.wire import KEY, assistant, message, tool, user
from tests.models.wire_openai_chat import DONE
from tests.models.wire_server import Reply, WireServer, json_reply, running, sse

from letta.errors import InvalidRequest, ModelBadRequest, ModelServerError
from letta.models import openai_quirks
from letta.models.openai_chat import OpenAIChat
from letta.models.protocol import Answer, ModelCard, ModelParameters, ModelRequest, Usage, collect
from letta.schemas.messages import ReasoningPart, Role, TextPart, ToolCallPart, ToolReturnPart

pytestmark = pytest.mark.anyio

LOOK = tool("look", at="string")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with running() as found:
        yield found


def stream(*deltas: dict[str, Any], finish: str | None = "stop", end: bytes = DONE, **more: Any) -> Reply:
    chunks = [{"choices": [{"index": 0, "delta": delta}], **more} for delta in deltas]
    last = [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}] if finish else []
    return Reply(sse(*chunks, *last, end=end))


OK = stream({"content": "ok"})


async def ask(
    server: WireServer, *replies: Reply, provider: str = "openai", model: str = "some-model", **fields: Any
) -> Answer:
    """Answer of a new client to one request."""
    server.will(*replies)
    fields.setdefault("messages", [user("Hi")])
    request = ModelRequest(model=model, handle=f"{provider}/{model}", system=("Be.",), **fields)
    chat = OpenAIChat(server.url, KEY, provider=provider)
    try:
        async with asyncio.timeout(10):
            return await collect(chat.stream(request))
    finally:
        await chat.aclose()


def calls(answer: Answer) -> list[tuple[str, str]]:
    return [(part.name, part.arguments) for part in answer.parts if isinstance(part, ToolCallPart)]


def call(name: str | None, arguments: Any, **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"tool_calls": [{**fields, "function": function}]}


CALL_HABITS: dict[str, list[dict[str, Any]]] = {
    "whole calls without an index": [call("look", '{"at":"a"}', id="1"), call("look", '{"at":"b"}', id="2")],
    "whole calls, all with index 0": [
        call("look", '{"at":"a"}', id="1", index=0),
        call("look", '{"at":"b"}', id="2", index=0),
    ],
    "no ids, all with index 0": [call("look", '{"at":"a"}', index=0), call("look", '{"at":"b"}', index=0)],
    "no ids, no indexes": [call("look", '{"at":"a"}'), call("look", '{"at":"b"}')],
    "one id for all": [call("look", '{"at":"a"}', id="x", index=0), call("look", '{"at":"b"}', id="x", index=1)],
    "id and name repeated with every piece": [
        call("look", '{"at"', id="1", index=0),
        call("look", ':"a"}', id="1", index=0),
        call("look", '{"at"', id="2", index=1),
        call("look", ':"b"}', id="2", index=1),
    ],
    "empty ids and names in later pieces": [
        call("look", "", id="1", index=0),
        call("", '{"at":"a"}', id="", index=0),
        call("look", "", id="2", index=1),
        call("", '{"at":"b"}', id="", index=1),
    ],
    "pieces of two calls mixed": [
        call("look", '{"at"', id="1", index=0),
        call("look", '{"at"', id="2", index=1),
        call(None, ':"a"}', index=0),
        call(None, ':"b"}', index=1),
    ],
    "all calls in one chunk": [
        {
            "tool_calls": [
                {"index": 0, "id": "1", "function": {"name": "look", "arguments": '{"at":"a"}'}},
                {"index": 1, "id": "2", "function": {"name": "look", "arguments": '{"at":"b"}'}},
            ]
        }
    ],
    "arguments as objects": [call("look", {"at": "a"}, id="1", index=0), call("look", {"at": "b"}, id="2", index=1)],
    "indexes that start at one": [
        call("look", '{"at":"a"}', id="1", index=1),
        call("look", '{"at":"b"}', id="2", index=2),
    ],
}


@pytest.mark.parametrize("deltas", CALL_HABITS.values(), ids=CALL_HABITS)
async def test_calls_are_told_apart_whatever_the_server_leaves_out(
    server: WireServer, deltas: list[dict[str, Any]]
) -> None:
    answer = await ask(server, stream(*deltas, finish="tool_calls"), tools=(LOOK,))
    assert calls(answer) == [("look", '{"at":"a"}'), ("look", '{"at":"b"}')]
    ids = [part.id for part in answer.parts if isinstance(part, ToolCallPart)]
    assert len(set(ids)) == 2
    assert all(ids)


async def test_old_style_function_call_is_a_tool_call(server: WireServer) -> None:
    deltas = [{"function_call": {"name": "look", "arguments": '{"at"'}}, {"function_call": {"arguments": ':"a"}'}}]
    answer = await ask(server, stream(*deltas, finish="function_call"), tools=(LOOK,))
    assert calls(answer) == [("look", '{"at":"a"}')]
    assert answer.finish_reason == "tool_calls"


TAGS: dict[str, tuple[list[str], str, str]] = {
    "whole": (["<think>why</think>because"], "why", "because"),
    "in pieces": (["<", "thi", "nk>\nw", "hy\n</", "think", ">\n\nbe", "cause"], "why", "because"),
    "after a line break": (["\n", "<think>why</think>", "because"], "why", "because"),
    "not at the start": (["a <think>why</think>"], "", "a <think>why</think>"),
    "almost": (["<thi", "s>"], "", "<this>"),
    "only the beginning of a tag": (["<th"], "", "<th"),
    "never closed": (["<think>wh", "y</th"], "why</th", ""),
    "a tag inside thinking": (["<think>a <b> </", "b> c</think>d"], "a <b> </b> c", "d"),
}


@pytest.mark.parametrize(("pieces", "thought", "text"), TAGS.values(), ids=TAGS)
async def test_thinking_tags_count_only_at_the_start(
    server: WireServer, pieces: list[str], thought: str, text: str
) -> None:
    answer = await ask(server, stream(*({"content": piece} for piece in pieces)))
    assert "".join(part.reasoning for part in answer.parts if isinstance(part, ReasoningPart)) == thought
    assert "".join(part.text for part in answer.parts if isinstance(part, TextPart)) == text


async def test_thinking_tags_are_text_where_the_server_has_a_reasoning_field(server: WireServer) -> None:
    answer = await ask(server, stream({"reasoning": "why"}, {"content": "<think>shown</think>"}))
    assert answer.parts == (ReasoningPart(reasoning="why", field="reasoning"), TextPart(text="<think>shown</think>"))


async def test_openrouters_reasoning_details_come_back_joined(server: WireServer) -> None:
    details: list[dict[str, Any]] = [
        {"type": "reasoning.text", "index": 0, "text": "wh", "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "index": 0, "text": "y"},
        {"type": "reasoning.text", "index": 0, "signature": "c2ln"},
        {"type": "reasoning.encrypted", "index": 1, "data": "b64"},
    ]
    deltas = [{"reasoning": piece.get("text"), "reasoning_details": [piece]} for piece in details]
    answer = await ask(
        server, stream(*deltas, call("look", "{}", id="call_1"), finish="tool_calls"), provider="openrouter"
    )
    result = message(Role.TOOL, ToolReturnPart(tool_call_id="call_1", content="x"))
    history = [user("Hi"), assistant("openrouter/some-model", *answer.parts), result]
    await ask(server, OK, provider="openrouter", messages=history)
    assert server.asked[1].json["messages"][2]["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "why", "format": "anthropic-claude-v1", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "index": 1, "data": "b64"},
    ]


async def test_googles_thought_signature_of_a_call_comes_back(server: WireServer) -> None:
    extra = {"google": {"thought_signature": "b64=="}}
    delta = call("look", "{}", id="call_1", index=0, extra_content=extra)
    answer = await ask(server, stream(delta, finish="tool_calls"), provider="gateway")
    result = message(Role.TOOL, ToolReturnPart(tool_call_id="call_1", content="x"))
    for handle in ("gateway/some-model", "elsewhere/some-model"):
        await ask(server, OK, provider="gateway", messages=[user("Hi"), assistant(handle, *answer.parts), result])
    own, other = (asked.json["messages"][2]["tool_calls"][0] for asked in server.asked[1:])
    assert own["extra_content"] == extra
    assert "extra_content" not in other


async def test_deepseek_gets_reasoning_back_only_in_turns_with_calls(server: WireServer) -> None:
    def thought(text: str) -> ReasoningPart:
        return ReasoningPart(reasoning=text, field="reasoning_content")

    handle = "deepseek/some-model"
    history = [
        user("One"),
        assistant(handle, thought("a"), TextPart(text="1")),
        user("Two"),
        assistant(handle, thought("b"), ToolCallPart(id="call_1", name="look")),
        message(Role.TOOL, ToolReturnPart(tool_call_id="call_1", content="x")),
        assistant(handle, thought("c"), TextPart(text="2")),
        user("Three"),
        assistant("elsewhere/model", thought("d"), ToolCallPart(id="call_2", name="look")),
    ]
    await ask(server, OK, provider="deepseek", messages=history)
    sent = [m.get("reasoning_content") for m in server.asked[0].json["messages"] if m["role"] == "assistant"]
    assert sent == [None, "b", "c", ""]


async def test_mistral_gets_ids_of_nine_letters_and_no_stream_options(server: WireServer) -> None:
    history = [
        user("Hi"),
        assistant("openai/gpt", ToolCallPart(id="call_abc", name="look")),
        message(Role.TOOL, ToolReturnPart(tool_call_id="call_abc", content="x")),
    ]
    await ask(server, OK, provider="mistral", messages=history)
    body = server.asked[0].json
    id_ = body["messages"][2]["tool_calls"][0]["id"]
    assert (len(id_), id_.isalnum(), body["messages"][3]["tool_call_id"]) == (9, True, id_)
    assert "stream_options" not in body


async def test_local_servers_get_turns_that_alternate(server: WireServer) -> None:
    history = [user("One"), message(Role.SYSTEM, TextPart(text="Note.")), user("Two")]
    await ask(server, OK, provider="llamacpp", messages=history)
    await ask(server, OK, provider="openai", messages=history)
    local, cloud = (asked.json["messages"][1:] for asked in server.asked)
    assert local == [{"role": "user", "content": "One\n\n<system>\nNote.\n</system>\n\nTwo"}]
    assert [(item["role"], item["content"]) for item in cloud] == [
        ("user", "One"),
        ("system", "Note."),
        ("user", "Two"),
    ]


REFUSALS = {
    "stream_options": "Unrecognized request argument supplied: stream_options",
    "parallel_tool_calls": "Extra inputs are not permitted: parallel_tool_calls",
    "temperature": "Unsupported value: 'temperature' does not support 0.5 with this model.",
    "frequency_penalty": "Argument not supported on this model: frequency_penalty",
}


@pytest.mark.parametrize(("field", "words"), REFUSALS.items(), ids=REFUSALS)
async def test_fields_a_server_does_not_know_are_left_out_from_then_on(
    server: WireServer, field: str, words: str
) -> None:
    server.will(json_reply({"error": {"message": words}}, 400), OK, OK)
    parameters = ModelParameters(temperature=0.5, frequency_penalty=0.1, parallel_tool_calls=True)
    request = ModelRequest("some-model", (), [user("Hi")], tools=(LOOK,), parameters=parameters)
    chat = OpenAIChat(server.url, KEY)
    for _ in range(2):
        assert (await collect(chat.stream(request))).parts == (TextPart(text="ok"),)
    await chat.aclose()
    first, second, third = (asked.json for asked in server.asked)
    assert field in first
    assert {**second, field: first[field]} == first
    assert third == second


async def test_limit_goes_under_the_name_the_server_asks_for(server: WireServer) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    await ask(
        server, json_reply({"error": {"message": words}}, 400), OK, parameters=ModelParameters(max_output_tokens=9)
    )
    limits = [{k: v for k, v in asked.json.items() if k.startswith("max_")} for asked in server.asked]
    assert limits == [{"max_tokens": 9}, {"max_completion_tokens": 9}]


async def test_wrong_values_are_the_callers_to_know(server: WireServer) -> None:
    with pytest.raises(ModelBadRequest, match="temperature must be"):
        await ask(
            server,
            json_reply({"error": {"message": "temperature must be between 0 and 2"}}, 400),
            parameters=ModelParameters(temperature=3.0),
        )
    assert len(server.asked) == 1


async def test_server_that_takes_no_reasoning_gets_none_from_then_on(server: WireServer) -> None:
    refusal = json_reply({"detail": "messages.1.reasoning: Extra inputs are not permitted"}, 422)
    stored = assistant("gw/some-model", ReasoningPart(reasoning="why", field="reasoning"), TextPart(text="Hello"))
    await ask(server, refusal, OK, provider="gw", messages=[user("Hi"), stored, user("And?")])
    sent = [asked.json["messages"][2].get("reasoning") for asked in server.asked]
    assert sent == ["why", None]


PARAMETERS: dict[str, tuple[str, str, ModelParameters, dict[str, Any]]] = {
    "plain": (
        "openai",
        "gpt-4.1",
        ModelParameters(temperature=0.2, max_output_tokens=100, verbosity="low"),
        {"temperature": 0.2, "max_tokens": 100, "verbosity": "low"},
    ),
    "always reasons": (
        "openai",
        "o3-mini",
        ModelParameters(temperature=0.2, max_output_tokens=100, effort="low"),
        {"max_completion_tokens": 100, "reasoning_effort": "low"},
    ),
    "reasons on request": (
        "openai",
        "gpt-5.1",
        ModelParameters(temperature=0.2),
        {"temperature": 0.2},
    ),
    "reasons because asked to": (
        "openai",
        "gpt-5.1",
        ModelParameters(temperature=0.2, effort="high"),
        {"reasoning_effort": "high"},
    ),
    "chat variant": ("openai", "gpt-5-chat-latest", ModelParameters(temperature=0.2), {"temperature": 0.2}),
    "gateway model name": ("openrouter", "openai/gpt-4.1", ModelParameters(max_output_tokens=5), {"max_tokens": 5}),
    "thinking off, openrouter": ("openrouter", "m", ModelParameters(thinking=False), {"reasoning": {"enabled": False}}),
    "thinking on, openrouter": ("openrouter", "m", ModelParameters(thinking=True), {"reasoning": {"enabled": True}}),
    "budget, openrouter": (
        "openrouter",
        "m",
        ModelParameters(thinking=True, thinking_budget=2000),
        {"reasoning": {"max_tokens": 2000}},
    ),
    "thinking off, deepseek": ("deepseek", "m", ModelParameters(thinking=False), {"thinking": {"type": "disabled"}}),
    "thinking off, vllm": (
        "vllm",
        "m",
        ModelParameters(thinking=False),
        {"chat_template_kwargs": {"enable_thinking": False}},
    ),
    "thinking off, ollama": ("ollama", "m", ModelParameters(thinking=False), {"reasoning_effort": "none"}),
    "text format": ("openai", "m", ModelParameters(response_format={"type": "text"}), {}),
    "extra": ("openai", "m", ModelParameters(extra={"top_k": 3, "messages": []}), {"top_k": 3}),
    "parallel calls without tools": ("openai", "m", ModelParameters(parallel_tool_calls=True), {}),
}


@pytest.mark.parametrize(("provider", "model", "parameters", "fields"), PARAMETERS.values(), ids=PARAMETERS)
async def test_parameters_become_the_fields_of_their_server(
    server: WireServer, provider: str, model: str, parameters: ModelParameters, fields: dict[str, Any]
) -> None:
    await ask(server, OK, provider=provider, model=model, parameters=parameters)
    body = server.asked[0].json
    messages = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}]
    usual = {"model": model, "stream": True, "stream_options": {"include_usage": True}, "messages": messages}
    assert body == {**usual, **fields}
    assert list(body)[-1] == "messages"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("required", "required"),
        ("none", "none"),
        ("look", {"type": "function", "function": {"name": "look"}}),
    ],
)
async def test_tools_and_their_choice(server: WireServer, choice: str, sent: Any) -> None:
    strict = tool("look", at="string")
    await ask(server, OK, tools=(LOOK, type(strict)("b", "B.", {"type": "object"}, strict=True)), tool_choice=choice)
    body = server.asked[0].json
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "look", "description": "The tool look.", "parameters": LOOK.parameters},
        },
        {
            "type": "function",
            "function": {"name": "b", "description": "B.", "parameters": {"type": "object"}, "strict": True},
        },
    ]
    assert body.get("tool_choice") == sent


async def test_usage_of_any_spelling_is_read(server: WireServer) -> None:
    deepseek = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}
    answer = await ask(server, stream({"content": "ok"}, usage=deepseek))
    assert answer.usage == Usage(10, 2, 12, cached_input_tokens=4)
    groq = {"usage": {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}}
    assert (await ask(server, stream({"content": "ok"}, x_groq=groq))).usage == Usage(0, 2, 2)


async def test_end_mark_without_a_reason_is_an_end(server: WireServer) -> None:
    assert (await ask(server, stream({"content": "ok"}, finish=None))).finish_reason == "stop"


async def test_reason_without_an_end_mark_is_an_end(server: WireServer) -> None:
    assert (await ask(server, stream({"content": "ok"}, end=b""))).parts == (TextPart(text="ok"),)


async def test_server_that_never_closes_is_not_waited_for(server: WireServer) -> None:
    reply = Reply(stream({"content": "ok"}).chunks, stays_open=True)
    assert (await ask(server, reply)).parts == (TextPart(text="ok"),)


async def test_refusal_is_text_and_named_as_filtered(server: WireServer) -> None:
    answer = await ask(server, stream({"refusal": "I cannot."}))
    assert (answer.parts, answer.finish_reason) == ((TextPart(text="I cannot."),), "content_filter")


@pytest.mark.parametrize(
    "chunk",
    [b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n', b"data: [1]\n\n", b'error: {"code":500}\n\n'],
)
async def test_broken_streams_are_the_servers_failure(server: WireServer, chunk: bytes) -> None:
    with pytest.raises(ModelServerError):
        await ask(server, stream({"content": "ok"}, finish=None, end=chunk))


async def test_line_ends_and_comments_of_any_kind_are_read(server: WireServer) -> None:
    data = json.dumps({"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]})
    raw = f": keep-alive\r\n\r\nevent: x\r\nid: 1\r\ndata:{data}\r\n\r\ndata: [DONE]\r\n\r\n".encode()
    assert (await ask(server, Reply((raw,)).sliced(5))).parts == (TextPart(text="ok"),)


BASES = {
    "http://localhost:11434": "http://localhost:11434/v1",
    "http://localhost:11434/": "http://localhost:11434/v1",
    "localhost:8000": "http://localhost:8000/v1",
    "https://api.openai.com/v1": "https://api.openai.com/v1",
    "https://api.openai.com/v1/": "https://api.openai.com/v1",
    "https://api.openai.com/v1/chat/completions": "https://api.openai.com/v1",
    "https://api.groq.com/openai": "https://api.groq.com/openai/v1",
    "https://generativelanguage.googleapis.com/v1beta/openai/": "https://generativelanguage.googleapis.com/v1beta/openai",
    "https://api.z.ai/api/paas/v4": "https://api.z.ai/api/paas/v4",
}


@pytest.mark.parametrize(("given", "used"), BASES.items())
def test_base_url_is_taken_in_any_form(given: str, used: str) -> None:
    assert openai_quirks.base_url(given) == used


@pytest.mark.parametrize("url", ["ftp://server/v1", "http://", "http://host:notaport/v1"])
def test_wrong_base_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidRequest, match="base_url"):
        OpenAIChat(url)


async def listed(server: WireServer, provider: str, **routes: Any) -> list[ModelCard]:
    server.routes = {path: json_reply(value) for path, value in routes.items()}
    chat = OpenAIChat(server.url, KEY, provider=provider)
    try:
        return await chat.list_models()
    finally:
        await chat.aclose()


@pytest.mark.parametrize(
    ("item", "card"),
    [
        ({"id": "m", "max_model_len": 4096}, ModelCard("m", 4096)),
        ({"id": "m", "context_window": 8192, "max_completion_tokens": 2048}, ModelCard("m", 8192, 2048)),
        ({"id": "m", "max_context_length": 32768}, ModelCard("m", 32768)),
        (
            {"id": "a/m", "name": "A: M", "context_length": 9000, "top_provider": {"max_completion_tokens": 900}},
            ModelCard("a/m", 9000, 900, "A: M"),
        ),
        ({"id": "m"}, ModelCard("m")),
    ],
    ids=["vllm", "groq", "mistral", "openrouter", "openai"],
)
async def test_context_window_is_read_from_the_list(server: WireServer, item: dict[str, Any], card: ModelCard) -> None:
    assert await listed(server, "vllm", **{"/v1/models": {"data": [item]}}) == [card]
    assert await listed(server, "together", **{"/v1/models": [item, {"id": "flux", "type": "image"}]}) == [card]


async def test_ollama_tells_the_window_in_use_before_the_one_a_model_could_have(server: WireServer) -> None:
    tags = {"models": [{"model": name} for name in ("loaded", "loaded2")]}
    running_now = {"models": [{"name": "loaded", "context_length": 4096}]}
    shown = {"model_info": {"qwen3.context_length": 40960}, "parameters": "stop x\nnum_ctx   16384"}
    routes = {"/api/tags": tags, "/api/ps": running_now, "/api/show": shown}
    assert await listed(server, "ollama", **routes) == [
        ModelCard("loaded", 4096, display_name="loaded"),
        ModelCard("loaded2", 16384, display_name="loaded2"),
    ]
    routes["/api/show"] = {"model_info": {"qwen3.context_length": 40960}}
    assert (await listed(server, "ollama", **routes))[1] == ModelCard("loaded2", 40960, display_name="loaded2")


async def test_old_ollama_is_listed_by_name(server: WireServer) -> None:
    assert await listed(server, "ollama", **{"/v1/models": {"data": [{"id": "m"}]}}) == [ModelCard("m")]


async def test_lm_studio_tells_the_loaded_window(server: WireServer) -> None:
    loaded = {"id": "m", "max_context_length": 131072, "loaded_context_length": 4096}
    old = {"data": [loaded, {"id": "n", "max_context_length": 8192}]}
    assert await listed(server, "lmstudio", **{"/api/v0/models": old}) == [ModelCard("m", 4096), ModelCard("n", 8192)]
    instance = {"id": "m", "config": {"context_length": 2048}}
    new = {"models": [{"key": "m", "display_name": "M", "max_context_length": 131072, "loaded_instances": [instance]}]}
    assert await listed(server, "lmstudio", **{"/api/v1/models": new}) == [ModelCard("m", 2048, display_name="M")]
    assert await listed(server, "lmstudio", **{"/v1/models": {"data": [{"id": "m"}]}}) == [ModelCard("m")]


async def test_llama_cpp_tells_its_window_for_every_model(server: WireServer) -> None:
    models = {"data": [{"id": "m", "meta": {"n_ctx_train": 32768}}]}
    props = {"default_generation_settings": {"n_ctx": 4096}}
    routes = {"/v1/models": models, "/props": props}
    assert await listed(server, "llamacpp", **routes) == [ModelCard("m", 4096, display_name="m")]
    assert await listed(server, "llamacpp", **{"/v1/models": models}) == [ModelCard("m", 32768)]


async def test_request_shown_beforehand_is_the_one_that_is_sent(server: WireServer) -> None:
    server.will(OK)
    request = ModelRequest(
        "some-model", handle="openai/some-model", system=("Be.",), messages=[user("Hi")], tools=(LOOK,)
    )
    chat = OpenAIChat(server.url, KEY, provider="openai")
    shown = chat.payload(request)
    await collect(chat.stream(request))
    await chat.aclose()
    assert json.loads(shown) == server.asked[-1].json


async def test_a_web_page_instead_of_an_answer_is_named(server: WireServer) -> None:
    page = Reply((b"<html>Welcome</html>",), 200, {"content-type": "text/html; charset=utf-8"})
    with pytest.raises(ModelBadRequest, match="answered with text/html instead of JSON or an event stream"):
        await ask(server, page)
