"""What every provider must do, over its own wire, read as a stream and collected.

A provider joins with one line in `wires.py`. The servers are real ones inside the test process; nothing of ours is
replaced.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.models.wire import KEY, Call, Heard, Say, Speech, Think, Wire, assistant, message, tool, user
from tests.models.wire_server import Reply, WireServer, running
from tests.models.wires import WIRES

from letta.errors import ModelCutOff, ModelEmptyAnswer, ModelError, ModelRateLimit, ModelServerError, ModelUnreachable
from letta.models.protocol import (
    Answer,
    Model,
    ModelEvent,
    ModelParameters,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    collect,
)
from letta.schemas.messages import (
    Base64Image,
    ImagePart,
    ReasoningPart,
    Role,
    StoredImage,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)

pytestmark = pytest.mark.anyio

WEATHER = tool("get_weather", city="string")
TIME = tool("get_time", zone="string")
DEADLINE = 10.0
UNICODE = "naïve 𝔘𝔫𝔦 🧑🏽‍🚀 مرحبا שלום \u202bRTL\u202c 漢字"
HELLO = Speech(Say("Hel", "lo", "!"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=WIRES, ids=lambda wire: wire.id)
def wire(request: pytest.FixtureRequest) -> Wire:
    found = request.param
    assert isinstance(found, Wire)
    return found


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with running() as found:
        yield found


class Waits:
    """A sleep that returns at once and remembers how long it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@asynccontextmanager
async def connected(wire: Wire, server: WireServer, waits: Waits | None = None) -> AsyncIterator[Model]:
    model = wire.connect(server.url, waits or Waits())
    try:
        async with asyncio.timeout(DEADLINE):
            yield model
    finally:
        await model.aclose()


class Reading:
    """One way to read an answer; the events that were seen, where the way shows them."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.events: list[ModelEvent] = []

    async def __call__(self, model: Model, request: ModelRequest) -> Answer:
        self.events = []
        if self.way == "collect":
            return await collect(model.stream(request))
        async for event in model.stream(request):
            self.events.append(event)
        *deltas, answer = self.events
        assert isinstance(answer, Answer)
        assert not any(isinstance(delta, Answer) for delta in deltas)
        self._matches(answer)
        return answer

    def _matches(self, answer: Answer) -> None:
        """What was streamed is what the answer holds."""
        text = "".join(event.text for event in self.events if isinstance(event, TextDelta))
        assert text == "".join(part.text for part in answer.parts if isinstance(part, TextPart))
        thought = "".join(event.text for event in self.events if isinstance(event, ReasoningDelta))
        assert thought == "".join(part.reasoning for part in answer.parts if isinstance(part, ReasoningPart))
        calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
        first = {event.index: event for event in reversed(self._calls())}
        assert [(first[at].id, first[at].name) for at in sorted(first)] == [(call.id, call.name) for call in calls]

    def _calls(self) -> list[ToolCallDelta]:
        return [event for event in self.events if isinstance(event, ToolCallDelta)]

    def arguments(self, index: int) -> str:
        """The arguments of a call as they were streamed."""
        return "".join(event.arguments for event in self._calls() if event.index == index)


@pytest.fixture(params=["stream", "collect"])
def read(request: pytest.FixtureRequest) -> Reading:
    return Reading(request.param)


def heard(wire: Wire, server: WireServer, number: int = -1) -> Heard:
    return wire.hear(server.asked[number].json)


async def test_text_arrives_in_the_servers_pieces(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.parts == (TextPart(text="Hello!"),)
    assert answer.finish_reason == "stop"
    assert heard(wire, server) == Heard("You are helpful.", [("user", "Hi")])
    if read.way == "stream":
        assert read.events[:-1] == [TextDelta("Hel"), TextDelta("lo"), TextDelta("!")]


async def test_answer_holds_the_exact_request_and_the_providers_answer(
    wire: Wire, server: WireServer, read: Reading
) -> None:
    server.will(replace(wire.speak(HELLO), headers={"content-type": "text/event-stream", "x-request-id": "req-7"}))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.request == server.asked[0].body
    assert answer.request_id == "req-7"
    assert answer.model
    assert "Hello!" in str(answer.response)
    assert KEY not in str(answer)


async def test_server_that_does_not_stream_is_read_too(wire: Wire, server: WireServer, read: Reading) -> None:
    assert wire.speak_whole is not None
    think, call = Think("Let me see."), Call("call_1", "get_weather", '{"city": "Paris"}')
    server.will(wire.speak_whole(Speech(think, Say("Looking."), call, finish="tool_calls")))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Weather?"), tools=(WEATHER,)))
    assert [part for part in answer.parts if not isinstance(part, ToolCallPart)] == [
        wire.thought(think),
        TextPart(text="Looking."),
    ]
    (found,) = (part for part in answer.parts if isinstance(part, ToolCallPart))
    assert (found.name, found.arguments.replace(" ", ""), found.error) == ("get_weather", '{"city":"Paris"}', None)
    assert answer.usage == wire.usage


async def test_usage_counts_cached_input_as_input(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.usage == wire.usage


async def test_missing_usage_is_unknown_rather_than_zero(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(replace_usage(HELLO)))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.usage == Usage()


def replace_usage(speech: Speech) -> Speech:
    return Speech(*speech.items, finish=speech.finish, usage=None)


async def test_tool_call_and_its_result_make_the_round_trip(wire: Wire, server: WireServer, read: Reading) -> None:
    call = Call("call_a1b2c3d4", "get_weather", '{"city": "Paris", "unit": "°C"}')
    server.will(wire.speak(Speech(Say("Let me look."), call, finish="tool_calls")), wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Weather?"), tools=(WEATHER,)))
        assert answer.parts == (
            TextPart(text="Let me look."),
            ToolCallPart(id=call.id, name="get_weather", arguments=call.arguments),
        )
        assert answer.finish_reason == "tool_calls"
        if read.way == "stream":
            assert read.arguments(0) == call.arguments
        result = ToolReturnPart(tool_call_id=call.id, name="get_weather", content="21 °C")
        history = (user("Weather?"), assistant(wire.handle, *answer.parts), message(Role.TOOL, result))
        await read(model, wire.request(*history, tools=(WEATHER,)))
    id_ = wire.call_id(call.id)
    assert heard(wire, server) == Heard(
        "You are helpful.",
        [
            ("user", "Weather?"),
            ("assistant", "Let me look."),
            ("call", id_, "get_weather", {"city": "Paris", "unit": "°C"}),
            ("result", id_, "21 °C"),
        ],
        ["get_weather"],
    )


async def test_parallel_calls_stay_apart_and_in_order(wire: Wire, server: WireServer, read: Reading) -> None:
    calls = (
        Call("call_000000001", "get_weather", '{"city": "Paris"}'),
        Call("call_000000002", "get_weather", '{"city": "Rome"}'),
        Call("call_000000003", "get_time", '{"zone": "CET"}'),
    )
    server.will(wire.speak(Speech(*calls, finish="tool_calls")), wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("?"), tools=(WEATHER, TIME)))
        assert answer.parts == tuple(ToolCallPart(id=c.id, name=c.name, arguments=c.arguments) for c in calls)
        # Results may be stored in one message or in several.
        together = message(Role.TOOL, *(ToolReturnPart(tool_call_id=c.id, content=c.id) for c in calls[:2]))
        alone = message(Role.TOOL, ToolReturnPart(tool_call_id=calls[2].id, content=calls[2].id))
        await read(model, wire.request(user("?"), assistant(wire.handle, *answer.parts), together, alone))
    assert heard(wire, server).turns[4:] == [("result", wire.call_id(call.id), call.id) for call in calls]


async def test_call_without_arguments_has_an_empty_object(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(Speech(Call("call_1", "get_time", ""), finish="tool_calls")))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("?"), tools=(TIME,)))
    assert [part.arguments for part in answer.parts if isinstance(part, ToolCallPart)] == ["{}"]


async def test_thinking_comes_back_to_its_provider_unchanged(wire: Wire, server: WireServer, read: Reading) -> None:
    think = Think("First, \n\tfind the city: 北京. ", "Eu4BCkYIBxgCKkD+/0a==\u00ad")
    call = Call("call_a1b2c3d4", "get_weather", '{"city": "Paris"}')
    server.will(wire.speak(Speech(think, call, finish="tool_calls")), wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Weather?"), tools=(WEATHER,)))
        assert answer.parts[0] == wire.thought(think)
        stored = assistant(wire.handle, *answer.parts)
        stored = type(stored).model_validate_json(stored.model_dump_json())  # as it comes out of the store
        result = message(Role.TOOL, ToolReturnPart(tool_call_id=call.id, content="sunny"))
        await read(model, wire.request(user("Weather?"), stored, result, tools=(WEATHER,)))
    thinking = heard(wire, server).turns[1]
    unsigned = isinstance(answer.parts[0], ReasoningPart) and not answer.parts[0].signature
    signature = None if unsigned else think.signature
    assert thinking == ("thinking", think.text, signature)


async def test_thinking_of_another_provider_is_left_out(wire: Wire, server: WireServer, read: Reading) -> None:
    thought = ReasoningPart(reasoning="secret thoughts", signature="their-proof", field="reasoning_content")
    stored = assistant("elsewhere/other-model", thought, TextPart(text="Hello."))
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(user("Hi"), stored, user("And now?")))
    assert heard(wire, server).turns == [("user", "Hi"), ("assistant", "Hello."), ("user", "And now?")]


async def test_calls_of_another_provider_get_ids_this_one_takes(wire: Wire, server: WireServer, read: Reading) -> None:
    id_ = "chatcmpl-tool-0123456789abcdef0123456789abcdef|fc_68a:weird id/" + "x" * 60
    stored = assistant("elsewhere/other", ToolCallPart(id=id_, name="find.files now", arguments='{"path": "/"}'))
    result = message(Role.TOOL, ToolReturnPart(tool_call_id=id_, content="none"))
    server.will(wire.speak(HELLO), wire.speak(HELLO))
    async with connected(wire, server) as model:
        for _ in range(2):
            await read(model, wire.request(user("Hi"), stored, result))
    call, answered = heard(wire, server).turns[1:]
    assert call[1] == answered[1] == heard(wire, server, 0).turns[1][1]
    assert len(call[1]) <= 128
    assert " " not in call[1]
    assert call[2].startswith("find_files_now_")


async def test_tool_with_a_name_no_provider_takes_is_called_by_its_own_name(
    wire: Wire, server: WireServer, read: Reading
) -> None:
    odd = tool("files/read file", path="string")
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(user("Hi"), tools=(odd,)))
        (sent,) = heard(wire, server).tools
        server.will(wire.speak(Speech(Call("call_1", sent, '{"path": "a"}'), finish="tool_calls")))
        answer = await read(model, wire.request(user("Hi"), tools=(odd,)))
    assert sent.replace("_", "").isalnum()
    assert [part.name for part in answer.parts if isinstance(part, ToolCallPart)] == ["files/read file"]


async def test_unanswered_call_is_closed_and_orphans_are_dropped(wire: Wire, server: WireServer, read: Reading) -> None:
    history = (
        message(Role.TOOL, ToolReturnPart(tool_call_id="lost", content="an orphan")),
        user("Weather?"),
        assistant(wire.handle, ToolCallPart(id="call_000000009", name="get_weather", arguments="{}")),
        user("Are you there?"),
    )
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(*history, tools=(WEATHER,)))
    id_ = wire.call_id("call_000000009")
    assert heard(wire, server).turns == [
        ("user", "Weather?"),
        ("call", id_, "get_weather", {}),
        ("result", id_, "[no result: interrupted]"),
        ("user", "Are you there?"),
    ]


async def test_sections_of_the_system_prompt_are_joined_in_order(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(user("Hi"), system=("Base.", "", "Memory.")))
    assert heard(wire, server).system == "Base.\n\nMemory."


async def test_summary_is_shown_as_a_users_text(wire: Wire, server: WireServer, read: Reading) -> None:
    summary = message(Role.SUMMARY, TextPart(text="Earlier: they met."))
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(summary, assistant(wire.handle, TextPart(text="Yes.")), user("Hi")))
    assert heard(wire, server).turns == [("user", "Earlier: they met."), ("assistant", "Yes."), ("user", "Hi")]


async def test_images_reach_the_model(wire: Wire, server: WireServer, read: Reading) -> None:
    shown = message(
        Role.USER,
        TextPart(text="What is this?"),
        ImagePart(source=Base64Image(media_type="image/png", data="iVBORw0KGgo=")),
        ImagePart(source=StoredImage(file_id="file-1", media_type="image/webp", data="UklGRg==")),
        ImagePart(source=StoredImage(file_id="file-2")),
    )
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(shown))
    assert heard(wire, server).turns == [
        ("user", "What is this?"),
        ("image", wire.image_of("image/png", "iVBORw0KGgo=")),
        ("image", wire.image_of("image/webp", "UklGRg==")),
        ("user", "[image not available]"),
    ]


async def test_addresses_of_images_reach_the_model(wire: Wire, server: WireServer, read: Reading) -> None:
    shown = message(Role.USER, ImagePart(source=UrlImage(url="https://example.com/cat.jpg")), TextPart(text="A cat?"))
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(shown))
    assert heard(wire, server).turns == [("image", "https://example.com/cat.jpg"), ("user", "A cat?")]


async def test_images_inside_tool_results_reach_the_model(wire: Wire, server: WireServer, read: Reading) -> None:
    picture = ImagePart(source=Base64Image(media_type="image/png", data="iVBORw0KGgo="))
    calls = [ToolCallPart(id=f"call_{n:08}", name="look") for n in (1, 2)]
    results = (
        message(Role.TOOL, ToolReturnPart(tool_call_id=calls[0].id, content=(TextPart(text="A cat"), picture))),
        message(Role.TOOL, ToolReturnPart(tool_call_id=calls[1].id, content="nothing")),
    )
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(user("Look"), assistant(wire.handle, *calls), *results))
    body = server.asked[0].body
    assert b"iVBORw0KGgo=" in body
    assert b"A cat" in body
    answered = [turn[1] for turn in heard(wire, server).turns if turn[0] == "result"]
    assert answered == [wire.call_id(call.id) for call in calls]


async def test_any_script_survives_in_both_directions(wire: Wire, server: WireServer, read: Reading) -> None:
    think, call = Think(UNICODE), Call("call_1", "say", f'{{"text": "{UNICODE}"}}')
    server.will(wire.speak(Speech(think, Say(UNICODE, "é"), call)).sliced(3))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user(UNICODE), tools=(tool("say", text="string"),)))
    assert answer.parts[:2] == (wire.thought(think), TextPart(text=UNICODE + "é"))
    assert [UNICODE in part.arguments for part in answer.parts if isinstance(part, ToolCallPart)] == [True]
    assert heard(wire, server).turns == [("user", UNICODE)]


async def test_half_surrogates_do_not_break_the_stream(wire: Wire, server: WireServer, read: Reading) -> None:
    broken = wire.speak(Speech(Say("a", "PIECE", "b")))
    server.will(replace(broken, chunks=tuple(chunk.replace(b"PIECE", b"\\ud83d") for chunk in broken.chunks)))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.parts == (TextPart(text="a\ufffdb"),)


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ('{"city": "Paris",}', '{"city": "Paris"}'),
        ("{'city': 'Paris', 'now': True}", '{"city": "Paris", "now": true}'),
        ('```json\n{"city": "Paris"}\n```', '{"city": "Paris"}'),
        ('{"city": "Paris"', '{"city": "Paris"}'),
    ],
)
async def test_broken_arguments_are_repaired(
    wire: Wire, server: WireServer, read: Reading, written: str, read_as: str
) -> None:
    server.will(wire.speak(Speech(Call("call_1", "get_weather", written), finish="tool_calls")))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("?"), tools=(WEATHER,)))
    (call,) = answer.parts
    assert call == ToolCallPart(id="call_1", name="get_weather", arguments=read_as)


async def test_two_objects_in_one_call_are_an_error_and_go_back_as_what_they_were(
    wire: Wire, server: WireServer, read: Reading
) -> None:
    written = '{"city": "Paris"}{"city": "Rome"}'
    server.will(wire.speak(Speech(Call("call_1", "get_weather", written), finish="tool_calls")), wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("?"), tools=(WEATHER,)))
        (call,) = answer.parts
        assert isinstance(call, ToolCallPart)
        assert call.error is not None
        assert "two objects" in call.error
        result = message(Role.TOOL, ToolReturnPart(tool_call_id=call.id, status="error", content=call.error))
        await read(model, wire.request(user("?"), assistant(wire.handle, call), result))
    sent = [turn for turn in heard(wire, server).turns if turn[0] == "call"]
    assert sent == [("call", wire.call_id("call_1"), "get_weather", {"invalid_json": written})]


async def test_arguments_cut_by_the_output_limit_are_not_completed(
    wire: Wire, server: WireServer, read: Reading
) -> None:
    server.will(wire.speak(Speech(Call("call_1", "save", '{"text": "half of'), finish="length")))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("?"), tools=(tool("save", text="string"),)))
    (call,) = answer.parts
    assert isinstance(call, ToolCallPart)
    assert call.error is not None
    assert "output limit" in call.error
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_early_ends_are_named(wire: Wire, server: WireServer, read: Reading, finish: str) -> None:
    server.will(wire.speak(Speech(Say("Well"), finish=finish)))  # type: ignore[arg-type]  # both are of the literal
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.finish_reason == finish


async def test_empty_answer_is_asked_for_again_and_then_an_error(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(Speech()), wire.speak(HELLO))
    async with connected(wire, server) as model:
        assert (await read(model, wire.request(user("Hi")))).parts == (TextPart(text="Hello!"),)
        server.will(*[wire.speak(Speech())] * 3)
        with pytest.raises(ModelEmptyAnswer):
            await read(model, wire.request(user("Hi")))
    assert len(server.asked) == 5


@pytest.mark.parametrize("cut", [True, False], ids=["broken", "ended"])
async def test_stream_cut_off_in_the_middle_is_never_an_answer(
    wire: Wire, server: WireServer, read: Reading, cut: bool
) -> None:
    whole = wire.speak(Speech(Say("one ", "two ", "three ", "four ", "five")))
    server.will(whole.shortened(5, cut=cut))
    async with connected(wire, server) as model:
        with pytest.raises(ModelCutOff):
            await read(model, wire.request(user("Hi")))
    assert len(server.asked) == 1  # something was streamed already: asking again would say it twice


async def test_stream_cut_off_before_the_first_word_is_asked_for_again(
    wire: Wire, server: WireServer, read: Reading
) -> None:
    server.will(wire.speak(HELLO).shortened(0), Reply(silent=True), wire.speak(HELLO))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("Hi")))
    assert answer.parts == (TextPart(text="Hello!"),)


async def test_failure_inside_a_stream_is_raised(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.late_failure(HELLO))
    async with connected(wire, server) as model:
        with pytest.raises(ModelServerError):
            await read(model, wire.request(user("Hi")))
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", list(WIRES[0].failures))
async def test_failures_are_told_apart_and_only_passing_ones_tried_again(
    wire: Wire, server: WireServer, read: Reading, kind: type[ModelError]
) -> None:
    server.will(*[wire.failures[kind]] * 3)
    waits = Waits()
    async with connected(wire, server, waits) as model:
        with pytest.raises(ModelError) as caught:
            await read(model, wire.request(user("Hi")))
    assert type(caught.value) is kind
    assert len(server.asked) == (3 if kind.retryable else 1)
    assert len(waits.seconds) == len(server.asked) - 1
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.details)


async def test_waits_as_long_as_the_provider_asks(wire: Wire, server: WireServer, read: Reading) -> None:
    limited = wire.failures[ModelRateLimit]
    server.will(limited, wire.speak(HELLO))
    waits = Waits()
    async with connected(wire, server, waits) as model:
        await read(model, wire.request(user("Hi")))
        assert waits.seconds == [7.0]
        server.will(replace(limited, headers={**limited.headers, "retry-after": "31"}))
        with pytest.raises(ModelRateLimit) as caught:
            await read(model, wire.request(user("Hi")))
    assert caught.value.retry_after == 31.0
    assert waits.seconds == [7.0]


async def test_server_that_is_not_there_is_unreachable(wire: Wire, read: Reading) -> None:
    async with running() as gone:
        pass
    model = wire.connect(gone.url, Waits())
    with pytest.raises(ModelUnreachable):
        await read(model, wire.request(user("Hi")))
    await model.aclose()


async def test_key_is_sent_and_never_shown(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(user("Hi")))
        assert KEY not in repr(model)
    assert KEY in str(server.asked[0].headers)
    assert KEY.encode() not in server.asked[0].body


async def test_closing_the_stream_aborts_the_call(wire: Wire, server: WireServer) -> None:
    server.will(replace(wire.speak(HELLO), chunks=wire.speak(HELLO).chunks[:5], stays_open=True))
    async with connected(wire, server) as model:
        events = model.stream(wire.request(user("Hi")))
        assert isinstance(await anext(events), TextDelta)
        await events.aclose()
        await server.aborted.wait()


async def test_cancelling_the_reader_aborts_the_call(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(replace(wire.speak(HELLO), chunks=wire.speak(HELLO).chunks[:5], stays_open=True))
    async with connected(wire, server) as model:
        task = asyncio.create_task(read(model, wire.request(user("Hi"))))
        await server.answering.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.aborted.wait()


async def test_answers_share_one_connection(wire: Wire, server: WireServer, read: Reading) -> None:
    server.will(*[wire.speak(HELLO)] * 3)
    async with connected(wire, server) as model:
        for _ in range(3):
            await read(model, wire.request(user("Hi")))
    assert server.connections == 1


async def test_answer_schema_reaches_the_provider(wire: Wire, server: WireServer, read: Reading) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema}}
    server.will(wire.speak(Speech(Say('{"n": 1}'))))
    async with connected(wire, server) as model:
        answer = await read(model, wire.request(user("?"), parameters=ModelParameters(response_format=wanted)))
    assert answer.parts == (TextPart(text='{"n": 1}'),)
    sent = wire.schema_of(server.asked[0].json)
    assert {**sent, "additionalProperties": False} == {**schema, "additionalProperties": False}


async def test_later_request_begins_with_the_bytes_of_the_earlier_one(
    wire: Wire, server: WireServer, read: Reading
) -> None:
    first = [user("One"), assistant(wire.handle, TextPart(text="1")), user("Two")]
    later = [*first, assistant(wire.handle, TextPart(text="2")), user("Three")]
    server.will(wire.speak(HELLO), wire.speak(HELLO))
    async with connected(wire, server) as model:
        before = await read(model, wire.request(*first, tools=(WEATHER,)))
        after = await read(model, wire.request(*later, tools=(WEATHER,)))
    # Cache marks move along; what they mark does not.
    plain = [body.replace(b',"cache_control":{"type":"ephemeral"}', b"") for body in (before.request, after.request)]
    assert plain[1].startswith(plain[0].removesuffix(b"]}"))


async def test_old_messages_are_encoded_once(wire: Wire, server: WireServer, read: Reading) -> None:
    history = [user("One"), assistant(wire.handle, TextPart(text="1")), user("Two")]
    server.will(wire.speak(HELLO), wire.speak(HELLO))
    async with connected(wire, server) as model:
        await read(model, wire.request(*history))
        history[0].parts[0] = TextPart(text="never read again")
        await read(model, wire.request(*history))
    assert heard(wire, server).turns[0] == ("user", "One")
