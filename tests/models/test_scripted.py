"""Streaming, counting and scripting of the scripted model."""

import asyncio
import json
from typing import Any

import pytest
from tests.models.scripted_requests import message, user

from letta import errors
from letta.models.protocol import (
    Answer,
    ModelCard,
    ModelEvent,
    ModelParameters,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSchema,
    Usage,
    collect,
)
from letta.models.scripted import Call, ScriptedModel, Step, Think
from letta.models.scripted.steps import ERRORS
from letta.schemas.messages import ReasoningPart, Role, TextPart, ToolCallPart

ROLL = ToolSchema("roll_dice", "Rolls dice.", {"type": "object", "properties": {"sides": {"type": "integer"}}})


def request(*said: str, **options: Any) -> ModelRequest:
    return ModelRequest("scripted", ("Be brief.",), tuple(user(text) for text in said), (ROLL,), **options)


async def read(model: ScriptedModel, asked: ModelRequest) -> list[ModelEvent]:
    return [event async for event in model.stream(asked)]


def play(model: ScriptedModel, asked: ModelRequest) -> list[ModelEvent]:
    return asyncio.run(read(model, asked))


def answer(model: ScriptedModel, asked: ModelRequest) -> Answer:
    return asyncio.run(collect(model.stream(asked)))


def test_deltas_put_together_are_the_answer() -> None:
    script: list[Step] = [
        [
            Think("Hm, let me see.", "sig"),
            "Two  words\nand ünïcode 🎲. ",
            Call("roll_dice", {"sides": 6, "why": "x" * 40}),
        ]
    ]
    *deltas, last = play(ScriptedModel(script), request("go"))
    assert isinstance(last, Answer)
    text = "".join(event.text for event in deltas if isinstance(event, TextDelta))
    thought = "".join(event.text for event in deltas if isinstance(event, ReasoningDelta))
    pieces = [event for event in deltas if isinstance(event, ToolCallDelta)]
    call = ToolCallPart(id=pieces[0].id or "", name="roll_dice", arguments="".join(piece.arguments for piece in pieces))
    assert last.parts == (ReasoningPart(reasoning=thought, signature="sig"), TextPart(text=text), call)
    assert (text, thought, len(pieces)) == ("Two  words\nand ünïcode 🎲. ", "Hm, let me see.", 4)
    assert last.finish_reason == "tool_calls"
    assert last.response == {
        "text": text,
        "tool_calls": [{"id": call.id, "name": "roll_dice", "arguments": call.arguments}],
    }


def test_the_request_is_kept_as_readable_json_and_counted() -> None:
    found = answer(ScriptedModel(["four"]), request("hello"))
    assert json.loads(found.request) == {
        "model": "scripted",
        "system": "Be brief.",
        "tools": ["roll_dice"],
        "messages": [{"role": "user", "content": ["hello"]}],
    }
    tools = len(ROLL.description) + len(json.dumps(ROLL.parameters, separators=(",", ":")))
    prompt = -(-(len(found.request) + tools) // 4)
    assert found.usage == Usage(prompt, 1, prompt + 1, reasoning_tokens=0)


def test_the_same_request_gets_the_same_answer() -> None:
    asked = request("call roll_dice with {}")
    assert answer(ScriptedModel(), asked) == answer(ScriptedModel(), asked)


def test_call_ids_differ_from_call_to_call() -> None:
    found = answer(ScriptedModel(), request('call roll_dice {} and call roll_dice {"sides": 2}'))
    again = answer(ScriptedModel(), request("call roll_dice"))
    ids = [part.id for part in (*found.parts, *again.parts) if isinstance(part, ToolCallPart)]
    assert len(set(ids)) == 3


def test_a_script_is_played_in_order_and_then_the_rules_answer() -> None:
    model = ScriptedModel(["one", lambda asked: f"{len(asked.messages)} messages"])
    replies = [answer(model, request("echo three")).response["text"] for _ in range(3)]
    assert replies == ["one", "1 messages", "three"]


def test_requests_are_recorded_up_to_a_bound() -> None:
    model = ScriptedModel(record=2)
    asked = [request(f"echo {number}") for number in range(3)]
    for one in asked:
        play(model, one)
    assert list(model.requests) == asked[1:]


def test_an_async_step_holds_the_answer_back() -> None:
    async def scenario() -> list[str]:
        reached, go, seen = asyncio.Event(), asyncio.Event(), list[str]()

        async def wait(_: ModelRequest) -> str:
            reached.set()
            await go.wait()
            return "second"

        async def read_texts() -> None:
            async for event in ScriptedModel([["first ", wait]]).stream(request("go")):
                seen.extend([event.text] if isinstance(event, TextDelta) else [])

        reader = asyncio.create_task(read_texts())
        await asyncio.wait_for(reached.wait(), 5)
        before = list(seen)
        go.set()
        await asyncio.wait_for(reader, 5)
        return [*before, "|", *seen]

    assert asyncio.run(scenario()) == ["first ", "|", "first ", "second"]


def test_an_error_in_a_script_is_raised_after_what_came_before() -> None:
    async def scenario() -> list[ModelEvent]:
        seen: list[ModelEvent] = []

        async def read_all() -> None:
            async for event in ScriptedModel([["half ", errors.ModelCutOff()]]).stream(request("go")):
                seen.append(event)  # noqa: PERF401 - what arrived before the error is the point

        with pytest.raises(errors.ModelCutOff):
            await read_all()
        return seen

    assert asyncio.run(scenario()) == [TextDelta("half ")]


def test_broken_arguments_carry_a_precise_error() -> None:
    [part] = answer(ScriptedModel([Call("roll_dice", '{"sides": 6}{"sides": 7}')]), request("go")).parts
    assert isinstance(part, ToolCallPart)
    assert (part.arguments, "not valid JSON" in (part.error or "")) == ('{"sides": 6}{"sides": 7}', True)


def test_a_script_in_a_message_is_played_one_step_per_model_call() -> None:
    said = user('!script [{"call": "roll_dice", "args": {"sides": 6}}, [{"think": "Hm"}, "done"]]')
    model = ScriptedModel()
    first = answer(model, ModelRequest("scripted", (), (said,), (ROLL,)))
    second = answer(model, ModelRequest("scripted", (), (said, message(Role.ASSISTANT, *first.parts)), (ROLL,)))
    assert [part.type for part in first.parts] == ["tool_call"]
    assert second.parts == (ReasoningPart(reasoning="Hm"), TextPart(text="done"))


@pytest.mark.parametrize("said", ["!script {", "!script 1", "!script [1]", '!script [{"call": "x", "args": 3}]'])
def test_an_unreadable_script_is_explained(said: str) -> None:
    assert "!script" in answer(ScriptedModel(), request(said)).response["text"]


@pytest.mark.parametrize(("word", "error"), ERRORS.items())
def test_the_error_command_fails_like_a_provider(word: str, error: type[errors.ModelError]) -> None:
    with pytest.raises(error):
        play(ScriptedModel(), request(f"!error {word}"))


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("!wait 0 echo hi", "hi"),
        ("!wait nan", "I have waited 0 seconds."),
        ("!wait x", "!wait needs a number of seconds, not 'x'."),
    ],
)
def test_the_wait_command_goes_on_with_what_follows(said: str, reply: str) -> None:
    assert answer(ScriptedModel(), request(said)).response["text"] == reply


def test_a_wait_can_be_cancelled() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(read(ScriptedModel(), request("!wait 60")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)

    asyncio.run(scenario())


def test_the_token_limit_cuts_between_words_and_says_so() -> None:
    found = answer(
        ScriptedModel(["one two three four"]), request("go", parameters=ModelParameters(max_output_tokens=2))
    )
    assert (found.parts, found.finish_reason) == ((TextPart(text="one two "),), "length")
    assert found.usage.completion_tokens == 2


def test_a_call_cut_off_by_the_limit_cannot_be_used() -> None:
    limited = ModelParameters(max_output_tokens=1)
    [part] = answer(ScriptedModel([Call("roll_dice", {"sides": 6})]), request("go", parameters=limited)).parts
    assert isinstance(part, ToolCallPart)
    assert "output limit" in (part.error or "")


def test_the_one_model_is_listed() -> None:
    cards = asyncio.run(ScriptedModel().list_models())
    assert cards == [ModelCard("scripted", 128_000, display_name="Scripted (rule-based, built in)")]
