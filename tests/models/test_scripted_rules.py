"""The built-in rules: what a newcomer without a key sees."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.models.scripted_requests import message, tool, user

from letta.models.protocol import Answer, ModelParameters, ModelRequest, ToolSchema, collect
from letta.models.scripted import ScriptedModel
from letta.models.scripted.samples import sample
from letta.models.scripted.sums import NoSumError, work_out
from letta.schemas.messages import (
    Base64Image,
    ImagePart,
    Message,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

PROMPT = """You are an agent.
<memory_blocks>
The following memory blocks are attached:

<persona>
<description>
Who you are
</description>
<metadata>
- chars_current=15
- chars_limit=2000
</metadata>
<value>
My name is Sam.
</value>
</persona>

<human>
<description>
Who the user is
</description>
<metadata>
- chars_current=1
- chars_limit=2000
</metadata>
<value>
{human}
</value>
</human>
</memory_blocks>"""


INSERT = tool("memory_insert", "label", "new_string", insert_line="integer")
REPLACE = tool("memory_replace", "label", "old_string", "new_string")
SEARCH = tool("conversation_search", "query")
ROLL = tool("roll_dice", sides="integer")
NATIVE = (INSERT, REPLACE, SEARCH, ROLL)
SEND = tool("send_message", "thinking", "message")
APPEND = tool("core_memory_append", "thinking", "label", "content", request_heartbeat="boolean")
CORE_REPLACE = tool(
    "core_memory_replace", "thinking", "label", "old_content", "new_content", request_heartbeat="boolean"
)
HEARTBEAT = (SEND, APPEND, CORE_REPLACE)


def request(
    *messages: Message, tools: tuple[ToolSchema, ...] = NATIVE, human: str = "", **options: Any
) -> ModelRequest:
    return ModelRequest("scripted", (PROMPT.format(human=human),), messages, tools, **options)


async def _answer(asked: ModelRequest) -> Answer:
    return await collect(ScriptedModel().stream(asked))


def answer(asked: ModelRequest) -> Answer:
    return asyncio.run(_answer(asked))


def text_of(asked: ModelRequest) -> str:
    found = answer(asked)
    assert all(isinstance(part, TextPart) for part in found.parts), found.parts
    return "".join(part.text for part in found.parts if isinstance(part, TextPart))


def calls_of(asked: ModelRequest) -> list[tuple[str, str]]:
    found = answer(asked)
    assert found.finish_reason == "tool_calls"
    return [(part.name, part.arguments) for part in found.parts if isinstance(part, ToolCallPart)]


def after_tools(asked: ModelRequest, results: Sequence[str], *, status: Any = "success") -> ModelRequest:
    """The request of the next step: the calls the model makes now, each with its result."""
    parts = answer(asked).parts
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    returns = [
        message(Role.TOOL, ToolReturnPart(tool_call_id=call.id, name=call.name, content=result, status=status))
        for call, result in zip(calls, results, strict=True)
    ]
    return replace(asked, messages=(*asked.messages, message(Role.ASSISTANT, *parts), *returns))


def test_a_name_is_stored_in_the_human_block_and_then_confirmed() -> None:
    asked = request(user("Hi, my name is bob and I live in Paris!"))
    assert calls_of(asked) == [("memory_insert", '{"label":"human","new_string":"Name: Bob\\nLives in Paris"}')]
    assert text_of(after_tools(asked, ["The block was edited."])) == (
        "Nice to meet you, Bob. I have stored this in my memory: Name: Bob; Lives in Paris"
    )


def test_the_turn_is_over_when_the_block_shows_the_fact_in_the_next_step() -> None:
    asked = request(user("My name is Ann"))
    later = replace(after_tools(asked, ["ok"]), system=(PROMPT.format(human="Name: Ann"),))
    assert text_of(later) == "Nice to meet you, Ann. I have stored this in my memory: Name: Ann"


@pytest.mark.parametrize("line", ["Name: Bob", "- The user's name is Bob.", "First name: Bob"])
def test_a_new_name_replaces_the_line_with_the_old_one(line: str) -> None:
    asked = request(user("Call me Al."), human=f"Likes tea\n{line}")
    assert calls_of(asked) == [("memory_replace", f'{{"label":"human","old_string":"{line}","new_string":"Name: Al"}}')]


def test_a_known_name_is_not_stored_again() -> None:
    asked = request(user("I am Bob."), human="Name: Bob")
    assert text_of(asked) == "I have that in my memory already: Name: Bob"


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("I'm Mary Ann", "Name: Mary Ann"),
        ("my name is 田中.", "Name: 田中"),
        ("I like strong coffee.", "Likes strong coffee"),
        ("Please remember that my dog is called Rex", "My dog is called Rex"),
        ("Can you remember to water the plants?", "Remember to water the plants"),
        ("My favourite colour is blue", "Favourite colour is blue"),
    ],
)
def test_facts_are_stored(said: str, stored: str) -> None:
    assert calls_of(request(user(said))) == [("memory_insert", f'{{"label":"human","new_string":"{stored}"}}')]


@pytest.mark.parametrize(
    "said",
    ["I am tired", "I'm not sure", "call me back later", "I like it", "is my name Bob?", "do you remember my dog?"],
)
def test_what_is_no_fact_is_not_stored(said: str) -> None:
    assert not any(name.startswith("memory") for name, _ in _calls(request(user(said))))


def _calls(asked: ModelRequest) -> list[tuple[str, str]]:
    return [(part.name, part.arguments) for part in answer(asked).parts if isinstance(part, ToolCallPart)]


def test_without_blocks_facts_go_to_the_archive() -> None:
    asked = replace(
        request(user("Remember: the sky is blue")), system=("",), tools=(tool("archival_memory_insert", "content"),)
    )
    assert calls_of(asked) == [("archival_memory_insert", '{"content":"The sky is blue"}')]


def test_a_read_only_block_is_left_alone() -> None:
    human = "<human><metadata>- read_only=true</metadata><value></value></human>"
    blocks = f"<memory_blocks>{human}<notes><value></value></notes></memory_blocks>"
    asked = replace(request(user("I like tea")), system=(blocks,))
    assert calls_of(asked) == [("memory_insert", '{"label":"notes","new_string":"Likes tea"}')]


def test_blocks_are_found_behind_instructions_that_mention_them() -> None:
    asked = replace(
        request(user("What is my name?")), system=("Your <memory_blocks> matter.", PROMPT.format(human="Name: Bob"))
    )
    assert text_of(asked) == "Your name is Bob."


def test_without_a_memory_tool_it_says_so() -> None:
    assert text_of(request(user("I like tea"), tools=())) == (
        "All right. I have no memory tool at hand, so this stays in our conversation only: Likes tea"
    )


def test_a_failed_edit_is_reported_honestly() -> None:
    asked = request(user("I like tea"))
    assert text_of(after_tools(asked, ["block human is full"], status="error")) == (
        "I could not store everything: memory_insert failed: block human is full"
    )


def test_the_name_comes_from_the_block_then_from_the_conversation() -> None:
    question = user("What is my name?")
    assert text_of(request(question, human="Name: Bob")) == "Your name is Bob."
    assert text_of(request(user("I'm Ann."), message(Role.ASSISTANT), question)) == "Your name is Ann."


def test_what_is_not_in_sight_is_searched_for() -> None:
    asked = request(user("What is my favourite colour?"))
    assert calls_of(asked) == [("conversation_search", '{"query":"favourite colour"}')]
    found = (
        '[{"role":"assistant","content":"What is your favourite colour?"},'
        '{"role":"user","content":"My favourite colour is blue."}]'
    )
    assert text_of(after_tools(asked, [found])) == 'You told me earlier: "My favourite colour is blue."'
    assert text_of(after_tools(asked, ["[]"])) == (
        "I found nothing about that, neither in my memory nor in our conversation."
    )


def test_what_was_said_about_a_topic_is_quoted() -> None:
    asked = request(user("Cats are great. Dogs too."), message(Role.ASSISTANT), user("what did I say about cats?"))
    assert text_of(asked) == 'You told me earlier: "Cats are great."'


def test_everything_known_is_listed() -> None:
    asked = request(user("What do you know about me?"), human="Name: Bob\nLikes tea")
    assert text_of(asked) == "This is what I know about you: Name: Bob; Likes tea"


@pytest.mark.parametrize("banner", ["# NOTE: Line numbers shown below", "# Line numbers are shown to help you edit."])
def test_line_numbers_of_a_block_are_not_read_as_text(banner: str) -> None:
    asked = request(user("What do you know about me?"), human=f"{banner}\n1→ Name: Bob\n2→ Lives in Rome")
    assert text_of(asked) == "This is what I know about you: Name: Bob; Lives in Rome"


@pytest.mark.parametrize(
    ("sum_", "value"),
    [
        ("12*(3+4)", "84"),
        ("0.1+0.2", "0.3"),
        ("1/3", "0.3333333333"),
        ("2^-2", "0.25"),
        ("-2^2", "-4"),
        ("7%4", "3"),
        ("--1", "1"),
    ],
)
def test_sums_are_worked_out_exactly(sum_: str, value: str) -> None:
    assert work_out(sum_) == value


@pytest.mark.parametrize("sum_", ["1/0", "9^9^9^9", "(1", "1+", "2^0.5", "1 2", "1" * 300, "0^-1"])
def test_what_is_no_sum_is_refused_with_a_reason(sum_: str) -> None:
    with pytest.raises(NoSumError):
        work_out(sum_)


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("What is 12 * (3+4)?", "12 * (3+4) = 84"),
        ("what's 6 times 7", "6 * 7 = 42"),
        ("1,000 + 1", "1000 + 1 = 1001"),
        ("what is 1/0?", "I cannot work out 1/0: it divides by zero."),
        ("echo  a\n b", "a\n b"),
        ("thanks!", "You are welcome."),
        ("stream a long answer of 12 words", "this is a long answer from the scripted model which writes one"),
    ],
)
def test_short_answers(said: str, reply: str) -> None:
    assert text_of(request(user(said))) == reply


@pytest.mark.parametrize("said", ["2026-01-01", "555-1234", "hello", "my flight is at 10-12"])
def test_numbers_that_are_no_sums_are_not_worked_out(said: str) -> None:
    assert " = " not in text_of(request(user(said)))


@pytest.mark.parametrize("said", ["Who are you?", "Are you an AI?", "what model is this", "Tell me a joke"])
def test_it_says_what_it_is(said: str) -> None:
    assert "scripted model" in text_of(request(user(said)))


def test_tools_are_called_by_name_in_parallel_and_their_results_reported() -> None:
    asked = request(user('call roll_dice with {"sides": 6} and call roll_dice with {"sides": 20}'))
    assert calls_of(asked) == [("roll_dice", '{"sides":6}'), ("roll_dice", '{"sides":20}')]
    assert text_of(after_tools(asked, ['{"status": "OK", "message": "4", "time": "now"}', "17"])) == (
        "roll_dice answered: 4; roll_dice answered: 17"
    )


def test_calls_come_one_per_step_when_parallel_calls_are_off() -> None:
    off = ModelParameters(parallel_tool_calls=False)
    asked = request(user('call roll_dice {"sides": 6} and call roll_dice {"sides": 20}'), parameters=off)
    assert calls_of(asked) == [("roll_dice", '{"sides":6}')]
    assert calls_of(after_tools(asked, ["1"])) == [("roll_dice", '{"sides":20}')]


def test_a_tool_that_is_not_there_is_named() -> None:
    assert text_of(request(user("use the tool fly {}"), tools=(ROLL,))) == (
        "There is no tool named fly here. I have: roll_dice."
    )


def test_thinking_comes_before_the_reply() -> None:
    parts = answer(request(user("Think step by step: what is 2+2?"))).parts
    assert [type(part) for part in parts] == [ReasoningPart, TextPart]
    assert parts[1] == TextPart(text="2+2 = 4")


def test_a_heartbeat_agent_replies_through_send_message() -> None:
    asked = request(user("I like tea"), tools=HEARTBEAT)
    [(name, arguments)] = calls_of(asked)
    assert name == "core_memory_append"
    assert '"content":"Likes tea","request_heartbeat":true' in arguments
    later = after_tools(asked, ["ok"])
    beat = user('{"type": "heartbeat", "reason": "Function called using request_heartbeat=true", "time": "now"}')
    [(name, arguments)] = calls_of(replace(later, messages=(*later.messages, beat)))
    assert name == "send_message"
    assert '"message":"All right. I have stored this in my memory: Likes tea"' in arguments


def test_a_packed_user_message_is_unpacked() -> None:
    asked = request(user('{"type": "user_message", "message": "echo hi", "time": "now"}'))
    assert text_of(asked) == "hi"


def test_a_plain_nudge_of_the_server_is_not_taken_for_the_user() -> None:
    done = after_tools(request(user("call roll_dice {}"), tools=(ROLL, SEARCH)), ["4"])
    note = user("Your turn cannot end yet: call conversation_search first.").model_copy(
        update={"data": {"nudge": True}}
    )
    assert calls_of(replace(done, messages=(*done.messages, note))) == [
        ("conversation_search", '{"query":"call roll_dice {}"}')
    ]


def test_a_tool_the_server_demands_is_called() -> None:
    sent = after_tools(request(user("hello"), tools=(SEND, ROLL)), ["Sent"])
    note = user('{"type": "heartbeat", "reason": "You must call roll_dice before the turn can end"}')
    [(name, _)] = calls_of(replace(sent, messages=(*sent.messages, note)))
    assert name == "roll_dice"


def test_tool_choice_is_obeyed() -> None:
    assert [name for name, _ in calls_of(request(user("hello"), tool_choice="roll_dice"))] == ["roll_dice"]
    assert [name for name, _ in calls_of(request(user("hello"), tool_choice="required"))] == ["conversation_search"]
    assert text_of(request(user("I like tea"), tool_choice="none")) == (
        "I may not call tools in this answer, so I did not call memory_insert."
    )


def test_structured_output_satisfies_its_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 1},
            "mood": {"enum": ["sad", "glad"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "ok": {"type": ["null", "boolean"]},
        },
        "$defs": {"tag": {"type": "string", "maxLength": 4}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    asked = request(user("echo I am glad to be 42"), parameters=ModelParameters(response_format=wanted))
    assert text_of(asked) == '{"age":42,"mood":"glad","tags":["I am"],"ok":true}'


def test_a_schema_that_contains_itself_ends() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert isinstance(sample(node, "x", "x"), dict)


def test_images_are_counted() -> None:
    picture = ImagePart(source=Base64Image(media_type="image/png", data="iVBORw0KGgo="))
    asked = request(message(Role.USER, TextPart(text="What do I see here?"), picture))
    assert text_of(asked).startswith("You sent 1 image (image/png).")
