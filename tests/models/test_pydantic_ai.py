"""What is particular to providers reached through pydantic-ai; the rest is in the conformance suite."""

import base64
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import messages as pai
from pydantic_ai.models.test import TestModel
from tests.models.wire import KEY, Call, Say, Speech, Think, assistant, message, tool, user
from tests.models.wire_google import GOOGLE
from tests.models.wire_openai_chat import chat_wire
from tests.models.wire_responses import RESPONSES
from tests.models.wire_server import WireServer, json_reply, running, sse

from letta.errors import InvalidRequest, ModelBadRequest
from letta.models.protocol import Answer, ModelCard, ModelParameters, ModelRequest, collect
from letta.models.pydantic_ai import PydanticAIModel
from letta.models.pydantic_ai.kinds import KINDS
from letta.models.pydantic_ai.messages import answer_parts, conversation
from letta.schemas.messages import (
    ImagePart,
    OmittedReasoningPart,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)

pytestmark = pytest.mark.anyio

ROLL = tool("roll_dice", sides="integer")
HELLO = Speech(Say("Hello!"))
SETUP: dict[str, dict[str, Any]] = {
    "azure": {"base_url": "https://example.com", "api_version": "2024-10-21"},
    "azure-responses": {"base_url": "https://example.com/openai/v1"},
    "bedrock": {"region": "us-east-1", "access_key": "AKIA"},
    "google-vertex": {"project": "p", "location": "global"},
}
CREDENTIALS = ("client_id", "client_secret", "refresh_token")
"""What credentials of a user of Google's cloud consist of."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with running() as found:
        yield found


async def ask(model: Any, request: ModelRequest) -> Answer:
    try:
        return await collect(model.stream(request))
    finally:
        await model.aclose()


async def no_wait(_: float) -> None:
    return


def responses(server: WireServer) -> PydanticAIModel:
    return PydanticAIModel("openai-responses", KEY, f"{server.url}/v1", sleep=no_wait)


async def sent(server: WireServer, **fields: Any) -> dict[str, Any]:
    """The body of a request to OpenAI Responses with these fields."""
    server.will(RESPONSES.speak(HELLO))
    await ask(responses(server), RESPONSES.request(user("Hi"), **fields))
    body: dict[str, Any] = server.asked[-1].json
    return body


async def test_encrypted_reasoning_goes_back_byte_for_byte_and_nothing_is_stored(server: WireServer) -> None:
    think, call = Think("Hm.\n北京", "gAAAA+/=="), Call("call_1", "roll_dice", '{"sides": 6}')
    server.will(RESPONSES.speak(Speech(think, Say("Rolling."), call, finish="tool_calls")))
    answer = await ask(responses(server), RESPONSES.request(user("Roll"), tools=(ROLL,)))
    assert answer.parts == (
        SummarizedReasoningPart(id="rs_1", summary=("Hm.\n北京",), encrypted_content="gAAAA+/=="),
        TextPart(text="Rolling."),
        ToolCallPart(id="call_1", name="roll_dice", arguments='{"sides": 6}'),
    )
    result = message(Role.TOOL, ToolReturnPart(tool_call_id="call_1", content="4"))
    server.will(RESPONSES.speak(HELLO))
    await ask(responses(server), RESPONSES.request(user("Roll"), assistant(RESPONSES.handle, *answer.parts), result))
    body = server.asked[-1].json
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["input"][1:] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm.\n北京"}],
            "encrypted_content": "gAAAA+/==",
        },
        {"role": "assistant", "content": "Rolling."},
        {"type": "function_call", "call_id": "call_1", "name": "roll_dice", "arguments": '{"sides":6}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "4"},
    ]


async def test_reasoning_that_was_not_handed_out_encrypted_is_left_out(server: WireServer) -> None:
    lost = SummarizedReasoningPart(id="rs_9", summary=("Hm.",))
    server.will(RESPONSES.speak(HELLO))
    history = (user("Hi"), assistant(RESPONSES.handle, lost, TextPart(text="Hello.")), user("Again"))
    await ask(responses(server), RESPONSES.request(*history))
    assert [turn[0] for turn in RESPONSES.hear(server.asked[-1].json).turns] == ["user", "assistant", "user"]


async def test_thought_signatures_of_google_go_back_byte_for_byte(server: WireServer) -> None:
    signature = base64.b64encode(b"\x00\xffthought").decode()
    parts: list[dict[str, Any]] = [
        {"text": "Rolling.", "thoughtSignature": signature},
        {"functionCall": {"id": "call_1", "name": "roll_dice", "args": {"sides": 6}}, "thoughtSignature": signature},
    ]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    server.will(
        GOOGLE.speak(HELLO).__class__(sse({"candidates": [candidate], "modelVersion": "gemini"})), GOOGLE.speak(HELLO)
    )
    answer = await ask(GOOGLE.connect(server.url, no_wait), GOOGLE.request(user("Roll"), tools=(ROLL,)))
    stored = assistant(GOOGLE.handle, *answer.parts)
    stored = type(stored).model_validate_json(stored.model_dump_json())
    result = message(Role.TOOL, ToolReturnPart(tool_call_id="call_1", content="4"))
    await ask(GOOGLE.connect(server.url, no_wait), GOOGLE.request(user("Roll"), stored, result))
    returned = server.asked[-1].json["contents"][1]["parts"]
    assert [part["thoughtSignature"] for part in returned] == [signature, signature]


async def test_pictures_on_this_machine_are_not_fetched_for_a_provider(server: WireServer) -> None:
    inside = message(Role.USER, ImagePart(source=UrlImage(url=f"{server.url}/secret.png")))
    with pytest.raises(ModelBadRequest, match="private"):
        await ask(GOOGLE.connect(server.url, no_wait), GOOGLE.request(inside))
    assert server.asked == []


async def test_errors_of_tools_are_marked_where_the_api_can(server: WireServer) -> None:
    call = ToolCallPart(id="call_1", name="roll_dice")
    failed = message(Role.TOOL, ToolReturnPart(tool_call_id="call_1", status="error", content="no dice"))
    server.will(GOOGLE.speak(HELLO), RESPONSES.speak(HELLO))
    await ask(GOOGLE.connect(server.url, no_wait), GOOGLE.request(user("Roll"), assistant(None, call), failed))
    await ask(responses(server), RESPONSES.request(user("Roll"), assistant(None, call), failed))
    google, openai = (asked.json for asked in server.asked)
    assert google["contents"][2]["parts"][0]["functionResponse"]["response"] == {"error": "no dice"}
    assert openai["input"][2]["output"] == "no dice"


@pytest.mark.parametrize(
    ("choice", "on_the_wire"),
    [("auto", "auto"), ("required", "required"), ("none", "none"), ("roll_dice", "roll_dice")],
)
async def test_tool_choice_is_passed_on(server: WireServer, choice: str, on_the_wire: str) -> None:
    body = await sent(server, tools=(ROLL, tool("flip_coin")), tool_choice=choice)
    assert on_the_wire in json.dumps(body["tool_choice"])
    assert body["tools"][0]["strict"] is False


async def test_parameters_are_passed_on_under_the_providers_names(server: WireServer) -> None:
    parameters = ModelParameters(
        max_output_tokens=100,
        temperature=0.5,
        effort="low",
        verbosity="low",
        parallel_tool_calls=False,
        extra={"top_p": 0.9, "openai_user": "me", "metadata": {"a": "b"}},
    )
    body = await sent(server, tools=(ROLL,), parameters=parameters)
    assert body["max_output_tokens"] == 100
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["text"]["verbosity"] == "low"
    assert body["parallel_tool_calls"] is False
    assert body["metadata"] == {"a": "b"}
    # A model that reasons takes no sampling settings, and would refuse the request for them.
    assert not body.keys() & {"temperature", "top_p"}


async def test_any_json_object_can_be_asked_for(server: WireServer) -> None:
    body = await sent(server, parameters=ModelParameters(response_format={"type": "json_object"}))
    assert body["text"]["format"] == {"type": "json_object"}
    assert "JSON" in json.dumps(body["input"]) + body.get("instructions", "")


async def test_a_response_format_without_a_schema_is_refused(server: WireServer) -> None:
    request = RESPONSES.request(user("?"), parameters=ModelParameters(response_format={"type": "json_schema"}))
    with pytest.raises(ModelBadRequest, match="response_format"):
        await ask(responses(server), request)
    assert server.asked == []


async def test_azure_speaks_chat_completions_to_a_deployment(server: WireServer) -> None:
    wire = chat_wire("azure")
    call = Call("call_1", "roll_dice", '{"sides": 6}')
    server.will(wire.speak(Speech(Say("Hel", "lo"), call, finish="tool_calls")))
    model = PydanticAIModel("azure", KEY, server.url, api_version="2024-10-21")
    answer = await ask(model, wire.request(user("Hi"), tools=(ROLL,)))
    assert answer.parts == (
        TextPart(text="Hello"),
        ToolCallPart(id="call_1", name="roll_dice", arguments='{"sides": 6}'),
    )
    assert server.asked[0].path == "/openai/deployments/some-model/chat/completions?api-version=2024-10-21"
    assert wire.hear(server.asked[0].json).turns == [("user", "Hi")]


async def test_mistral_answers_with_text_and_calls(server: WireServer) -> None:
    wire = chat_wire("mistral", whole_calls=True)
    server.will(
        wire.speak(Speech(Say("Hel", "lo"), Call("abcdefghi", "roll_dice", '{"sides": 6}'), finish="tool_calls"))
    )
    answer = await ask(PydanticAIModel("mistral", KEY, server.url), wire.request(user("Hi"), tools=(ROLL,)))
    assert answer.parts == (
        TextPart(text="Hello"),
        ToolCallPart(id="abcdefghi", name="roll_dice", arguments='{"sides": 6}'),
    )
    assert answer.request == server.asked[0].body


async def test_cohere_answers_with_text(server: WireServer) -> None:
    usage = {"tokens": {"input_tokens": 12, "output_tokens": 3}}
    events = (
        {"type": "message-start", "id": "m-1", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    )
    server.will(RESPONSES.speak(HELLO).__class__(sse(*((event["type"], event) for event in events))))
    request = ModelRequest(model="command-a", system=("Be brief.",), messages=(user("Hi"),), handle="cohere/command-a")
    answer = await ask(PydanticAIModel("cohere", KEY, server.url), request)
    assert answer.parts == (TextPart(text="Hello"),)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 3)
    assert answer.request == server.asked[0].body


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_can_be_set_up(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Where Vertex AI finds the credentials of the machine.
    credentials = tmp_path / "credentials.json"
    credentials.write_text(json.dumps({"type": "authorized_user"} | dict.fromkeys(CREDENTIALS, KEY)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    model = PydanticAIModel(kind, KEY, **SETUP.get(kind, {}))
    assert KEY not in repr(model)
    await model.aclose()


@pytest.mark.parametrize(
    ("kind", "package"), [("bedrock", "boto3"), ("mistral", "mistralai.client"), ("cohere", "cohere")]
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in (f"pydantic_ai.models.{kind}", f"pydantic_ai.providers.{kind}"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(InvalidRequest) as caught:
        PydanticAIModel(kind, KEY, **SETUP.get(kind, {}))
    assert caught.value.message == f'{kind} needs a package that is not installed: pip install "open-letta[{kind}]"'


@pytest.mark.parametrize(
    ("kind", "key", "words"),
    [("ask-jeeves", KEY, "kind"), ("google", None, "api_key"), ("azure", KEY, "base_url")],
)
def test_wrong_settings_are_named(kind: str, key: str | None, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        PydanticAIModel(kind, key)


async def listed(server: WireServer, kind: str, path: str = "", **options: Any) -> list[ModelCard]:
    model = PydanticAIModel(kind, KEY, server.url + path, **options)
    try:
        return await model.list_models()
    finally:
        await model.aclose()


async def test_google_lists_models_that_can_talk_page_by_page(server: WireServer) -> None:
    talks = {
        "name": "models/gemini-2.5-pro",
        "displayName": "Gemini 2.5 Pro",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent"],
    }
    embeds = {"name": "models/embedding-001", "supportedGenerationMethods": ["embedContent"]}
    more = {"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent"]}
    server.will(json_reply({"models": [talks, embeds], "nextPageToken": "p2"}), json_reply({"models": [more]}))
    assert await listed(server, "google") == [
        ModelCard("gemini-2.5-pro", 1048576, 65536, "Gemini 2.5 Pro"),
        ModelCard("gemini-2.5-flash"),
    ]
    assert KEY not in server.asked[1].path
    assert server.asked[1].path.endswith("pageToken=p2")


async def test_azure_lists_deployments(server: WireServer) -> None:
    server.will(json_reply({"data": [{"id": "my-gpt", "model": "gpt-4o"}]}))
    cards = await listed(server, "azure", "/openai/v1")
    assert cards == [ModelCard("my-gpt", display_name="my-gpt (gpt-4o)")]
    assert server.asked[0].path == "/openai/deployments?api-version=2023-03-15-preview"


@pytest.mark.parametrize(
    ("kind", "body", "card"),
    [
        ("openai-responses", {"data": [{"id": "gpt-5"}]}, ModelCard("gpt-5")),
        ("mistral", {"data": [{"id": "m", "max_context_length": 32768}]}, ModelCard("m", 32768)),
        ("cohere", {"models": [{"name": "c", "context_length": 128000.0}]}, ModelCard("c", 128000)),
    ],
)
async def test_other_lists_are_read(server: WireServer, kind: str, body: Any, card: ModelCard) -> None:
    server.will(json_reply(body))
    assert await listed(server, kind) == [card]


async def test_bedrock_has_a_list_of_known_models() -> None:
    model = PydanticAIModel("bedrock", "secret", **SETUP["bedrock"])
    assert "us.amazon.nova-pro-v1:0" in [card.name for card in await model.list_models()]


def test_thinking_in_all_its_forms_survives_the_way_through_our_parts() -> None:
    model = TestModel()
    name = model.system
    said: list[Any] = [
        pai.ThinkingPart(content="open", signature="sig+/=", provider_name=name),
        pai.ThinkingPart(content="", id="redacted_thinking", signature="opaque", provider_name=name),
        pai.ThinkingPart(content="", signature="only-a-mark", provider_name=name),
        pai.ThinkingPart(content="one", id="rs_1", signature="enc", provider_name=name),
        pai.ThinkingPart(content="two", id="rs_1", provider_name=name),
        pai.ThinkingPart(content="", id="rs_2", provider_name=name, provider_details={"raw_content": ["raw"]}),
        pai.TextPart(content="Hello.", provider_name=name, provider_details={"phase": "final_answer"}),
    ]
    parts = answer_parts(pai.ModelResponse(parts=said), {}, cut_off=False)
    assert parts[:5] == (
        ReasoningPart(reasoning="open", signature="sig+/="),
        RedactedReasoningPart(data="opaque"),
        OmittedReasoningPart(signature="only-a-mark"),
        SummarizedReasoningPart(id="rs_1", summary=("one", "two"), encrypted_content="enc"),
        ReasoningPart(
            reasoning="raw", signature='{"pydantic_ai":{"id":"rs_2","provider_details":{"raw_content":["raw"]}}}'
        ),
    )
    [_, back] = conversation([user("Hi"), assistant("x/y", *parts)], model, "x", KINDS["openai-responses"])
    assert list(back.parts) == said
    [_, foreign] = conversation([user("Hi"), assistant("z/y", *parts)], model, "x", KINDS["openai-responses"])
    assert list(foreign.parts) == [pai.TextPart(content="Hello.")]


def test_parts_that_are_not_known_are_left_out_and_pictures_kept(caplog: pytest.LogCaptureFixture) -> None:
    picture = pai.FilePart(content=pai.BinaryContent(data=b"\x89PNG", media_type="image/png"))
    response = pai.ModelResponse(
        parts=[pai.TextPart(content=""), pai.NativeToolCallPart(tool_name="web_search", args={}), picture]
    )
    [part] = answer_parts(response, {}, cut_off=False)
    assert isinstance(part, ImagePart)
    assert part.source.type == "base64"
    assert "builtin-tool-call" in caplog.text


def test_the_user_begins_and_ends_where_the_api_insists() -> None:
    history = [assistant(None, TextPart(text="One")), assistant(None, TextPart(text="Two"))]
    strict = conversation(history, TestModel(), "x", KINDS["bedrock"])
    assert [type(turn) for turn in strict] == [pai.ModelRequest, pai.ModelResponse, pai.ModelRequest]
    assert [type(turn) for turn in conversation(history, TestModel(), "x", KINDS["openai-responses"])] == [
        pai.ModelResponse
    ]
