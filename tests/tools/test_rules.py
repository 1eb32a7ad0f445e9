"""Tool rules as a client sees them: what the model is offered and forced to, what is refused, when a turn ends."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve

from letta.models.protocol import ModelRequest
from letta.models.scripted import Call

# Each tool tells what it was called with; `look` returns the value that it is given as JSON.
SOURCES = {
    **{name: f'def {name}(note: str = "") -> str:\n    """Do it."""\n    return "{name} " + note\n' for name in "abc"},
    "look": 'def look(value: str) -> object:\n    """Look."""\n    import json\n    return json.loads(value)\n',
}
BASE = {"include_base_tools": False, "include_base_tool_rules": False}
SEND = Call("send_message", {"message": "Done.", "thinking": "-"})


Play = Callable[[Sequence[Any]], Served]
"""Gives the model a script; the server is the same for all tests, and starting one takes longer than any of them."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def play(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Play]:
    async with serve(tmp_path_factory.mktemp("data")) as served:

        def follow(script: Sequence[Any]) -> Served:
            served.model.play(script)
            return served

        yield follow


async def agent(served: Served, *rules: dict[str, Any], own: str = "a b c", **fields: Any) -> str:
    """An agent that has nothing but the tools named."""
    ids = []
    for name in own.split():
        made = await served.http.post("/v1/tools/", json={"source_code": SOURCES[name]})
        assert made.status_code == 200, made.text
        ids.append(made.json()["id"])
    agent_id: str = (await served.agent(tool_ids=ids, tool_rules=list(rules), **BASE, **fields))["id"]
    return agent_id


async def heartbeat_agent(served: Served, *rules: dict[str, Any], own: str = "a b") -> str:
    """The same in the older style, which replies by a tool."""
    return await agent(served, *rules, own=own, agent_type="memgpt_v2_agent", tools=["send_message"])


def rule(kind: str, tool: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "tool_name": tool, **fields}


def beat(name: str, go_on: bool = False, **arguments: Any) -> Call:
    """A call of an agent in the older style."""
    return Call(name, {"thinking": "-", "request_heartbeat": go_on, **arguments})


def offers(served: Served) -> list[tuple[str, str]]:
    """What each request offered, and what it forced."""
    return [(" ".join(tool.name for tool in request.tools), request.tool_choice) for request in served.model.requests]


def results(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """The status and text of every tool's return."""
    returns = [one for message in answer["messages"] for one in message.get("tool_returns") or ()]
    return [(one["status"], one["tool_return"]) for one in returns]


def stop(answer: dict[str, Any]) -> str:
    reason: str = answer["stop_reason"]["stop_reason"]
    return reason


def last_words(request: ModelRequest) -> str:
    return request.messages[-1].text


# -- what comes first --------------------------------------------------------------------------------------------------


async def test_one_tool_that_must_come_first_is_forced_by_name(play: Play) -> None:
    served = play([Call("a"), "Done."])
    answer = await served.send(await agent(served, rule("run_first", "a")), "go")
    assert offers(served) == [("a", "a"), ("a b c", "auto")]
    assert (results(answer), stop(answer)) == ([("success", "a ")], "end_turn")


async def test_one_of_several_first_tools_is_required(play: Play) -> None:
    served = play([Call("b"), "Done."])
    agent_id = await agent(served, rule("run_first", "a"), rule("run_first", "b"))
    await served.send(agent_id, "go")
    assert offers(served) == [("a b", "required"), ("a b c", "auto")]


async def test_every_turn_begins_with_the_first_tool(play: Play) -> None:
    served = play([Call("a"), "One.", Call("a"), "Two."])
    agent_id = await agent(served, rule("run_first", "a"))
    await served.send(agent_id, "go")
    await served.send(agent_id, "again")
    assert offers(served) == [("a", "a"), ("a b c", "auto")] * 2


async def test_arguments_of_a_first_tool_win_over_the_models_in_its_first_call_only(play: Play) -> None:
    served = play([Call("a", {"note": "mine"}), Call("a", {"note": "mine"}), "Done."])
    agent_id = await agent(served, rule("run_first", "a", args={"note": "prefilled"}))
    answer = await served.send(agent_id, "go")
    assert results(answer) == [("success", "a prefilled"), ("success", "a mine")]


async def test_a_call_that_is_refused_does_not_get_the_model_out_of_a_rule(play: Play) -> None:
    script = [Call("b"), Call("nothing_known"), Call("a"), Call("c"), Call("b"), "Done."]
    served = play(script)
    rules = [rule("run_first", "a"), rule("constrain_child_tools", "a", children=["b"])]
    answer = await served.send(await agent(served, *rules), "go")
    assert offers(served) == [("a", "a")] * 3 + [("b", "b")] * 2 + [("a b c", "auto")]
    assert [status for status, _ in results(answer)] == ["error", "error", "success", "error", "success"]
    assert results(answer)[0] == ("error", "Error: your tool rules do not allow b now. Allowed: a.")


async def test_rule_about_a_tool_the_agent_does_not_have_says_nothing(play: Play) -> None:
    served = play([Call("b"), "Done."])
    answer = await served.send(await agent(served, rule("run_first", "gone")), "go")
    assert offers(served) == [("a b c", "auto")] * 2
    assert results(answer) == [("success", "b ")]


# -- what comes next ---------------------------------------------------------------------------------------------------


async def test_only_child_is_forced_and_its_arguments_are_filled_in(play: Play) -> None:
    nodes = [{"name": "b", "args": {"note": "from the rule"}}]
    child = rule("constrain_child_tools", "a", children=["b"], child_arg_nodes=nodes)
    served = play([Call("a"), Call("b", {"note": "mine"}), Call("b", {"note": "mine"}), "Done."])
    answer = await served.send(await agent(served, child), "go")
    assert offers(served) == [("a b c", "auto"), ("b", "b"), ("a b c", "auto"), ("a b c", "auto")]
    assert results(answer) == [("success", "a "), ("success", "b from the rule"), ("success", "b mine")]


async def test_one_of_several_children_is_required(play: Play) -> None:
    served = play([Call("a"), Call("c"), "Done."])
    await served.send(await agent(served, rule("constrain_child_tools", "a", children=["b", "c"])), "go")
    assert offers(served)[1] == ("b c", "required")


async def test_rules_of_one_tool_are_intersected(play: Play) -> None:
    rules = [
        rule("constrain_child_tools", "a", children=["b", "c"]),
        rule("max_count_per_step", "b", max_count_limit=1),
    ]
    served = play([Call("b"), Call("a"), Call("c"), "Done."])
    await served.send(await agent(served, *rules), "go")
    assert offers(served) == [("a b c", "auto"), ("a c", "auto"), ("c", "c"), ("a c", "auto")]


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        ("true", True),
        ("True", True),
        ("false", False),
        ("1", 1),
        ("-3", -3),
        ("2.5", 2.5),
        ("2.50", 2.5),
        ("yes", "yes"),
        ("Yes", "yes"),
        ("1", "1"),
    ],
)
async def test_result_picks_the_next_tool(play: Play, expected: str, returned: Any) -> None:
    branches = rule("conditional", "look", child_output_mapping={expected: "b", "other": "c"})
    look = Call("look", {"value": orjson.dumps(returned).decode()})
    served = play([look, Call("b"), "Done."])
    await served.send(await agent(served, branches, own="look b c"), "go")
    assert offers(served)[1] == ("b", "b")


@pytest.mark.parametrize(("expected", "returned"), [("1", True), ("true", 1), ("1", 2), ("yes", "yes!")])
async def test_another_result_leads_to_the_default(play: Play, expected: str, returned: Any) -> None:
    branches = rule("conditional", "look", child_output_mapping={expected: "b"}, default_child="c")
    look = Call("look", {"value": orjson.dumps(returned).decode()})
    served = play([look, Call("c"), "Done."])
    await served.send(await agent(served, branches, own="look b c"), "go")
    assert offers(served)[1] == ("c", "c")


async def test_without_a_default_another_result_leaves_the_choice_open(play: Play) -> None:
    branches = rule("conditional", "look", child_output_mapping={"1": "b"})
    served = play([Call("look", {"value": "2"}), "Done."])
    await served.send(await agent(served, branches, own="look b"), "go")
    assert offers(served)[1] == ("look b", "auto")


async def test_strict_conditional_offers_nothing_and_tells_the_model_why(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    branches = rule("conditional", "look", child_output_mapping={"1": "b"}, require_output_mapping=True)
    served = play([Call("look", {"value": "2"}), "In words."])
    with caplog.at_level(logging.WARNING, "letta.runtime.styles"):
        answer = await served.send(await agent(served, branches, own="look b"), "go")
    assert offers(served)[1] == ("", "auto")
    assert last_words(served.model.requests[1]) == (
        "Your tool rules leave no tool that you could call now: answer in words."
    )
    assert stop(answer) == "end_turn"
    assert "the tool rules leave no tool after look" in caplog.messages


async def test_children_can_be_called_directly_after_their_parent_only(play: Play) -> None:
    parent = rule("parent_last_tool", "a", children=["b"])
    served = play([Call("b"), Call("a"), Call("b"), Call("b"), "Done."])
    answer = await served.send(await agent(served, parent), "go")
    assert offers(served) == [("a c", "auto"), ("a c", "auto"), ("b", "b"), ("a c", "auto"), ("a c", "auto")]
    assert [status for status, _ in results(answer)] == ["error", "success", "success", "error"]


# -- how often, and when the turn ends ---------------------------------------------------------------------------------


async def test_uses_are_counted_once_and_per_turn(play: Play) -> None:
    script = [Call("a"), Call("a"), Call("a"), "Done.", Call("a"), "Done."]
    served = play(script)
    agent_id = await agent(served, rule("max_count_per_step", "a", max_count_limit=2))
    first = await served.send(agent_id, "go")
    second = await served.send(agent_id, "again")
    assert [offered for offered, _ in offers(served)] == ["a b c", "a b c", "b c", "b c", "a b c", "a b c"]
    assert [status for status, _ in results(first)] == ["success", "success", "error"]
    assert results(second) == [("success", "a ")]


async def test_turn_ends_after_a_terminal_tool(play: Play) -> None:
    served = play([Call("a"), Call("b")])
    answer = await served.send(await agent(served, rule("exit_loop", "b")), "go")
    assert len(served.model.requests) == 2
    assert (results(answer), stop(answer)) == ([("success", "a "), ("success", "b ")], "tool_rule")


async def test_terminal_tool_that_fails_does_not_end_the_turn(play: Play) -> None:
    served = play([Call("look", {"value": "{"}), "Sorry."])
    answer = await served.send(await agent(served, rule("exit_loop", "look"), own="look"), "go")
    assert (results(answer)[0][0], stop(answer)) == ("error", "end_turn")


async def test_turn_goes_on_until_the_required_tool_was_called(play: Play) -> None:
    served = play(["Done already.", Call("a"), "Done."])
    answer = await served.send(await agent(served, rule("required_before_exit", "a")), "go")
    assert last_words(served.model.requests[1]) == "Your turn cannot end yet: call a first."
    assert (results(answer), stop(answer)) == ([("success", "a ")], "end_turn")


async def test_terminal_tool_waits_for_the_required_one(play: Play) -> None:
    rules = [rule("required_before_exit", "a"), rule("exit_loop", "b")]
    served = play([Call("b"), Call("a"), Call("b")])
    answer = await served.send(await agent(served, *rules), "go")
    assert last_words(served.model.requests[1]) == "Your turn cannot end yet: call a first."
    assert stop(answer) == "tool_rule"
    assert [text for _, text in results(answer)] == ["b ", "a ", "b "]


async def test_required_tool_that_no_rule_allows_any_more_does_not_hold_the_turn(play: Play) -> None:
    rules = [rule("required_before_exit", "a"), rule("constrain_child_tools", "b", children=["gone"])]
    served = play([Call("b"), "I cannot."])
    answer = await served.send(await agent(served, *rules), "go")
    assert offers(served)[1] == ("", "auto")
    assert stop(answer) == "end_turn"


async def test_steps_bound_a_model_that_never_calls_the_required_tool(play: Play) -> None:
    served = play(["No."] * 4)
    agent_id = await agent(served, rule("required_before_exit", "a"))
    answer = await served.send(agent_id, "go", max_steps=3)
    assert len(served.model.requests) == 3
    assert stop(answer) == "max_steps"


# -- a person in between -----------------------------------------------------------------------------------------------


async def test_rules_go_on_where_they_were_when_a_person_has_allowed_a_call(play: Play) -> None:
    rules = [
        rule("run_first", "a"),
        rule("requires_approval", "b"),
        rule("constrain_child_tools", "b", children=["c"]),
    ]
    served = play([Call("a"), Call("b"), Call("c"), "Done."])
    agent_id = await agent(served, *rules)
    asked = await served.send(agent_id, "go")
    answer = await approval(served, agent_id, asked, approve=True)
    assert offers(served) == [("a", "a"), ("a b c", "auto"), ("c", "c"), ("a b c", "auto")]
    assert stop(asked) == "requires_approval"
    assert results(answer) == [("success", "b "), ("success", "c ")]


async def approval(served: Served, agent_id: str, asked: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What comes of a person's answer to a call that waits."""
    decision = {"type": "approval", "tool_call_id": asked["messages"][-1]["tool_call"]["tool_call_id"], **fields}
    body = {"messages": [{"type": "approval", "approvals": [decision]}]}
    answer: dict[str, Any] = (await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)).json()
    return answer


async def test_call_that_a_person_denied_counts_as_nothing(play: Play) -> None:
    rules = [
        rule("requires_approval", "a"),
        rule("max_count_per_step", "a", max_count_limit=1),
        rule("constrain_child_tools", "a", children=["b"]),
        rule("required_before_exit", "a"),
    ]
    served = play([Call("a"), "Then not.", Call("a"), Call("b"), "Done."])
    agent_id = await agent(served, *rules)
    asked = await served.send(agent_id, "go")
    again = await approval(served, agent_id, asked, approve=False)
    done = await approval(served, agent_id, again, approve=True)
    assert offers(served) == [("a b c", "auto")] * 3 + [("b", "b"), ("b c", "auto")]
    assert [stop(answer) for answer in (asked, again, done)] == ["requires_approval", "requires_approval", "end_turn"]
    assert results(again) == [("error", "Error: the user denied this call.")]
    assert results(done) == [("success", "a "), ("success", "b ")]


# -- several calls at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "parallel"),
    [
        ([], True),
        ([rule("requires_approval", "b")], True),
        ([rule("exit_loop", "b")], False),
        ([rule("requires_approval", "b"), rule("max_count_per_step", "a", max_count_limit=3)], False),
    ],
)
async def test_parallel_calls_are_asked_for_only_without_rules_of_order(
    play: Play, rules: list[dict[str, Any]], parallel: bool
) -> None:
    settings = {"provider_type": "openai", "parallel_tool_calls": True}
    served = play(["Hello."])
    await served.send(await agent(served, *rules, model_settings=settings), "go")
    assert served.model.requests[0].parameters.parallel_tool_calls is parallel


async def test_only_the_first_of_calls_that_come_at_once_anyway_is_made_and_the_others_count_as_nothing(
    play: Play,
) -> None:
    once = rule("max_count_per_step", "b", max_count_limit=1)
    served = play([[Call("a"), Call("b"), Call("b")], Call("b"), "Done."])
    answer = await served.send(await agent(served, once), "go")
    assert [offered for offered, _ in offers(served)] == ["a b c", "a b c", "a c"]
    surplus = (
        "error",
        "Error: you can make one call at a time. This one was not made: make it again if you still want it.",
    )
    assert results(answer) == [("success", "a "), surplus, surplus, ("success", "b ")]


async def test_result_of_the_first_call_decides_even_where_the_model_did_not_wait_for_it(play: Play) -> None:
    branches = rule("conditional", "look", child_output_mapping={"1": "b"}, default_child="c")
    served = play([[Call("look", {"value": "1"}), Call("c")], Call("b"), "Done."])
    answer = await served.send(await agent(served, branches, own="look b c"), "go")
    assert offers(served) == [("look b c", "auto"), ("b", "b"), ("look b c", "auto")]
    assert [status for status, _ in results(answer)] == ["success", "error", "success"]


async def test_surplus_call_of_a_tool_that_needs_approval_does_not_wait_for_anybody(play: Play) -> None:
    rules = [rule("requires_approval", "b"), rule("exit_loop", "c")]
    served = play([[Call("a"), Call("b")], "Done."])
    answer = await served.send(await agent(served, *rules), "go")
    assert (stop(answer), [status for status, _ in results(answer)]) == ("end_turn", ["success", "error"])
    served.model.play([[Call("a"), Call("b")], "Done."])
    again = await agent(served, *rules)
    body = {"input": "go", "streaming": True, "stream_tokens": True, "include_pings": False}
    text = (await served.http.post(f"/v1/agents/{again}/messages", json=body)).text
    assert "approval_request_message" not in text
    assert "requires_approval" not in text


# -- the older style ---------------------------------------------------------------------------------------------------


async def test_older_style_is_offered_and_forced_the_same(play: Play) -> None:
    rules = [
        rule("run_first", "a"),
        rule("constrain_child_tools", "a", children=["b"]),
        rule("exit_loop", "send_message"),
    ]
    served = play([beat("a"), beat("b", go_on=True), SEND])
    answer = await served.send(await heartbeat_agent(served, *rules), "go")
    assert offers(served) == [("a", "a"), ("b", "b"), ("send_message a b", "auto")]
    assert stop(answer) == "tool_rule"


@pytest.mark.parametrize(
    "rules",
    [
        [rule("continue_loop", "a")],
        [rule("constrain_child_tools", "a", children=["send_message"])],
        [rule("conditional", "a", child_output_mapping={}, default_child="send_message")],
        [rule("required_before_exit", "send_message")],
    ],
    ids=lambda rules: rules[0]["type"],
)
async def test_older_style_goes_on_where_a_rule_says_so(play: Play, rules: list[dict[str, Any]]) -> None:
    served = play([beat("a"), SEND])
    answer = await served.send(await heartbeat_agent(served, *rules), "go")
    assert len(served.model.requests) == 2
    assert answer["messages"][-1]["content"] == "Done."


@pytest.mark.parametrize(
    "rules",
    [[], [rule("max_count_per_step", "a", max_count_limit=3)], [rule("parent_last_tool", "a", children=["b"])]],
    ids=lambda rules: rules[0]["type"] if rules else "none",
)
async def test_older_style_ends_after_a_tool_when_no_rule_goes_on(play: Play, rules: list[dict[str, Any]]) -> None:
    served = play([beat("a")])
    answer = await served.send(await heartbeat_agent(served, *rules), "go")
    assert (len(served.model.requests), stop(answer)) == (1, "end_turn")


async def test_older_style_goes_on_after_surplus_calls_and_ends_after_a_reply(play: Play) -> None:
    rules = [rule("exit_loop", "send_message")]
    served = play([[beat("a"), SEND], [SEND, beat("b")]])
    answer = await served.send(await heartbeat_agent(served, *rules), "go")
    assert (len(served.model.requests), stop(answer)) == (2, "tool_rule")
    assert "only the first was made" in last_words(served.model.requests[1])


async def test_older_style_without_any_tool_left_ends_its_turn(play: Play) -> None:
    rules = [rule("conditional", "a", child_output_mapping={"x": "b"}, require_output_mapping=True)]
    served = play([beat("a", go_on=True)])
    answer = await served.send(await heartbeat_agent(served, *rules), "go")
    run = (await served.http.get(f"/v1/runs/{answer['usage']['run_ids'][0]}")).json()
    assert (len(served.model.requests), run["status"], run["stop_reason"]) == (1, "completed", "tool_rule")


# -- what the model reads, and what is refused -------------------------------------------------------------------------


async def test_rules_are_told_to_the_model(play: Play) -> None:
    rules = [
        rule("run_first", "a"),
        rule("constrain_child_tools", "a", children=["b", "c"]),
        rule("parent_last_tool", "b", children=["c"]),
        rule("conditional", "b", child_output_mapping={"x": "c"}),
        rule("continue_loop", "a"),
        rule("exit_loop", "c"),
        rule("required_before_exit", "b"),
        rule("max_count_per_step", "a", max_count_limit=2),
        rule("requires_approval", "c"),
    ]
    served = play([Call("a"), Call("b"), Call("c")])
    await served.send(await agent(served, *rules), "go")
    prompt = "\n".join(served.model.requests[0].system)
    section = prompt.partition("<tool_usage_rules>")[2].partition("</tool_usage_rules>")[0]
    assert [line for line in section.splitlines() if line.startswith("- ")] == [
        "- The first tool of a turn must be a.",
        "- After a, the next tool must be one of: b, c.",
        "- These tools can only be used directly after b: c.",
        "- After b, its result decides which tool comes next.",
        "- After a, you go on working.",
        "- c ends your turn.",
        "- Use b before you end your turn.",
        "- Use a at most 2 times in a turn.",
        "- c runs only after a person approves the call.",
    ]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("Never forget {{ tool_name }}!", "Never forget a!"),
        ("After {{tool_name}}: {{ children | join(' or ') }}", "After a: b or c"),
        ('{{ children|join(", then ") }}', "b, then c"),
        ("{{ children }}.", "b, c."),
        ("Plain words {like these}.", "Plain words {like these}."),
        ("{% for x in children %}{{ x }}{% endfor %}", "After a, the next tool must be one of: b, c."),
        ("{{ tool_name.__class__ }}", "After a, the next tool must be one of: b, c."),
        ("{{ unknown }}", "After a, the next tool must be one of: b, c."),
        ("", "After a, the next tool must be one of: b, c."),
    ],
)
async def test_a_rules_own_words_are_told_where_they_ask_for_its_fields_only(
    play: Play, template: str, told: str
) -> None:
    served = play(["Done."])
    own = rule("constrain_child_tools", "a", children=["b", "c"], prompt_template=template)
    await served.send(await agent(served, own), "go")
    prompt = "\n".join(served.model.requests[0].system)
    section = prompt.partition("<tool_usage_rules>")[2].partition("</tool_usage_rules>")[0]
    assert [line for line in section.splitlines() if line.startswith("- ")] == [f"- {told}"]


@pytest.mark.parametrize(
    "broken",
    [
        rule("no_such_rule", "a"),
        {"type": "exit_loop"},
        rule("constrain_child_tools", "a"),
        rule("max_count_per_step", "a", max_count_limit=0),
    ],
    ids=["unknown type", "no tool", "no children", "no use allowed"],
)
async def test_rule_that_makes_no_sense_is_refused(play: Play, broken: dict[str, Any]) -> None:
    served = play([])
    answer = await served.http.post("/v1/agents/", json={"model": "letta/scripted", "tool_rules": [broken]})
    assert answer.status_code == 422
    assert "tool_rules" in answer.text
