"""Tools made from source, over HTTP: stored, changed, run from source or for an agent, called in a conversation."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serving import Served, serve

from letta.models.scripted import Call

ROLL = '''
def roll(sides: int, times: int = 1) -> list[int]:
    """Roll dice.

    Args:
        sides: How many sides.
        times: How often.
    """
    return [sides] * times
'''
ROLL_SCHEMA = {
    "name": "roll",
    "description": "Roll dice.",
    "parameters": {
        "type": "object",
        "properties": {
            "sides": {"type": "integer", "description": "How many sides."},
            "times": {"type": "integer", "description": "How often.", "default": 1},
        },
        "required": ["sides"],
    },
}
BARE: dict[str, Any] = {
    "tool_type": "custom", "source_type": "python", "args_json_schema": None, "tags": [], "return_char_limit": 50000,
    "pip_requirements": None, "npm_requirements": None, "default_requires_approval": None,
    "enable_parallel_execution": None, "idempotent": None, "project_id": None, "metadata_": None,
    "created_by_id": None, "last_updated_by_id": None,
}  # fmt: skip


async def made(served: Served, source: str, **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/tools/", json={"source_code": source, **fields})
    assert answer.status_code == 200, answer.text
    tool: dict[str, Any] = answer.json()
    return tool


async def refused(answer: httpx2.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    return detail


async def agent_with(served: Served, *sources: str, **fields: Any) -> dict[str, Any]:
    ids = [(await made(served, source))["id"] for source in sources]
    return await served.agent(tool_ids=ids, **fields)


async def run_for(served: Served, agent: dict[str, Any], name: str, **args: Any) -> dict[str, Any]:
    answer = await served.http.post(f"/v1/agents/{agent['id']}/tools/{name}/run", json={"args": args})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


# -- storing -----------------------------------------------------------------------------------------------------------


async def test_a_tool_gets_its_name_description_and_schema_from_its_source(served: Served) -> None:
    tool = await made(served, ROLL)
    assert tool == {
        **BARE,
        "id": tool["id"],
        "name": "roll",
        "description": "Roll dice.",
        "source_code": ROLL,
        "json_schema": ROLL_SCHEMA,
    }
    assert (await served.http.get(f"/v1/tools/{tool['id']}")).json() == tool


@pytest.mark.parametrize("verb", ["POST", "PUT"])
async def test_the_same_name_again_changes_the_tool_in_place(served: Served, verb: str) -> None:
    first = await made(served, ROLL)
    again = await served.http.request(
        verb, "/v1/tools/", json={"source_code": "def roll():\n    '''Roll once.'''", "tags": ["dice"]}
    )
    assert again.json()["id"] == first["id"]
    assert (again.json()["description"], again.json()["tags"]) == ("Roll once.", ["dice"])


async def test_a_schema_that_was_given_is_kept_as_it_is(served: Served) -> None:
    schema = {**ROLL_SCHEMA, "description": "Given.", "strict": True}
    tool = await made(served, ROLL, json_schema=schema)
    assert (tool["json_schema"], tool["description"]) == (schema, "Given.")


async def test_arguments_that_were_given_replace_those_of_the_signature(served: Served) -> None:
    arguments = {"type": "object", "properties": {"sides": {"type": "integer", "minimum": 2}}, "required": ["sides"]}
    tool = await made(served, "def roll(sides):\n    '''Roll.'''\n    return sides", args_json_schema=arguments)
    assert tool["json_schema"] == {"name": "roll", "description": "Roll.", "parameters": arguments}
    assert tool["args_json_schema"] == arguments


async def test_types_that_only_running_code_knows_are_resolved_in_the_sandbox(served: Served) -> None:
    source = '''
from pydantic import BaseModel, Field

class Item(BaseModel):
    name: str = Field(description="What")
    amount: int = 1

def order(item: Item, more: list[Item] | None = None):
    """Order.

    Args:
        item: The first one.
    """
    return [type(item).__name__, item.amount, [type(one).__name__ for one in more or []]]
'''
    tool = await made(served, source)
    item = {
        "type": "object",
        "title": "Item",
        "properties": {
            "name": {"type": "string", "title": "Name", "description": "What"},
            "amount": {"type": "integer", "title": "Amount", "default": 1},
        },
        "required": ["name"],
    }
    assert tool["json_schema"]["parameters"] == {
        "type": "object",
        "properties": {"item": {**item, "description": "The first one."}, "more": {"type": "array", "items": item}},
        "required": ["item"],
    }
    agent = await served.agent(tool_ids=[tool["id"]])
    result = await run_for(served, agent, "order", item={"name": "a"}, more=[{"name": "b"}])
    assert result["func_return"] == ["Item", 1, ["Item"]]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"source_code": "def f(:"}, "source_code: line 1 is not valid Python"),
        ({"source_code": "x = 1"}, "source_code: it defines no function"),
        ({"source_code": f"def {'f' * 49}(): ..."}, "has 49 characters, at most 48"),
        ({"source_code": ROLL, "json_schema": {"name": "other"}}, "no function called 'other' (functions: roll)"),
        ({"source_code": ROLL, "json_schema": {}}, "json_schema.name: None is not a name"),
        ({"source_code": ROLL, "args_json_schema": {"type": "array"}}, "args_json_schema: it must be the schema"),
        ({"source_code": ROLL, "source_type": "cobol"}, "source_type: 'cobol' is neither"),
        ({"source_code": "export function f() {}"}, "source_code: line 1 is not valid Python"),
        ({"source_code": "def f(x: Unheard):\n    '''F.'''"}, "no schema can be made of x: Unheard"),
        ({"source_code": "import os\nos._exit(0)\ndef f(x: Unheard):\n    '''F.'''"}, "no schema can be made of x"),
        ({"source_code": ROLL, "pip_requirements": [{"name": "git+https://x"}]}, "is not the name of a package"),
        ({"source_code": ROLL, "pip_requirements": [{"name": "--index-url"}]}, "is not the name of a package"),
        ({"source_code": ROLL, "pip_requirements": [{"name": "a", "version": "1 --pre"}]}, "is not a version of a"),
        ({"source_code": ROLL, "npm_requirements": [{"name": "../x"}]}, "is not the name of a package"),
    ],
)
async def test_what_cannot_be_a_tool_is_refused_and_not_stored(
    served: Served, fields: dict[str, Any], detail: str
) -> None:
    before = (await served.http.get("/v1/tools/count")).json()
    assert detail in await refused(await served.http.post("/v1/tools/", json=fields))
    assert (await served.http.get("/v1/tools/count")).json() == before


async def test_a_tool_cannot_take_the_place_of_a_built_in_one(served: Served) -> None:
    answer = await served.http.post("/v1/tools/", json={"source_code": "def send_message(): ..."})
    assert "send_message is a letta_core tool" in await refused(answer, 409)


async def test_changed_source_changes_name_schema_and_description(served: Served) -> None:
    tool = await made(served, ROLL)
    source = 'def throw(dice: int):\n    """Throw dice."""'
    changed = await served.http.patch(f"/v1/tools/{tool['id']}", json={"source_code": source})
    schema = {
        "name": "throw",
        "description": "Throw dice.",
        "parameters": {"type": "object", "properties": {"dice": {"type": "integer"}}, "required": ["dice"]},
    }
    assert changed.json() == {
        **tool,
        "name": "throw",
        "description": "Throw dice.",
        "source_code": source,
        "json_schema": schema,
    }
    assert "it follows from the source" in await refused(
        await served.http.patch(f"/v1/tools/{tool['id']}", json={"name": "roll"})
    )
    assert "line 1" in await refused(await served.http.patch(f"/v1/tools/{tool['id']}", json={"source_code": "def"}))
    assert (await served.http.get(f"/v1/tools/{tool['id']}")).json() == changed.json()
    unchanged = await served.http.patch(f"/v1/tools/{tool['id']}", json=changed.json())
    assert unchanged.json() == changed.json()


async def test_a_new_description_and_metadata_leave_the_code_alone(served: Served) -> None:
    tool = await made(served, ROLL)
    changes = {"description": "Mine.", "metadata_": {"allow_network": True}, "return_char_limit": 10}
    changed = (await served.http.patch(f"/v1/tools/{tool['id']}", json=changes)).json()
    assert changed == {**tool, **changes, "json_schema": ROLL_SCHEMA}


async def test_a_tool_is_deleted(served: Served) -> None:
    tool = await made(served, ROLL)
    agent = await served.agent(tool_ids=[tool["id"]])
    assert (await served.http.delete(f"/v1/tools/{tool['id']}")).json() is None
    assert (await served.http.get(f"/v1/tools/{tool['id']}")).status_code == 404
    assert "roll" not in {one["name"] for one in (await served.http.get(f"/v1/agents/{agent['id']}/tools")).json()}


async def test_a_schema_is_generated_without_storing_anything(served: Served) -> None:
    before = (await served.http.get("/v1/tools/count")).json()
    assert (await served.http.post("/v1/tools/generate-schema", json={"code": ROLL})).json() == ROLL_SCHEMA
    script = {"code": "export function add(a: number) {}", "source_type": "typescript"}
    assert (await served.http.post("/v1/tools/generate-schema", json=script)).json()["name"] == "add"
    assert "line 1" in await refused(await served.http.post("/v1/tools/generate-schema", json={"code": "def"}))
    assert (await served.http.get("/v1/tools/count")).json() == before


# -- running -----------------------------------------------------------------------------------------------------------


async def test_source_is_run_once_and_answered_in_the_form_of_every_client(served: Served) -> None:
    body = {
        "source_code": "import os\ndef f(x: int):\n    print('out')\n    return {'x': x, 'key': os.environ['KEY'] * 2}",
        "args": {"x": 1},
        "env_vars": {"KEY": "a-secret"},
    }
    answer = (await served.http.post("/v1/tools/run", json=body)).json()
    assert answer == {
        "status": "success",
        "func_return": {"x": 1, "key": "[secret KEY][secret KEY]"},
        "stdout": ["out"],
        "stderr": [],
        "agent_state": None,
        "sandbox_config_fingerprint": answer["sandbox_config_fingerprint"],
        "id": answer["id"],
        "date": answer["date"],
        "message_type": "tool_return_message",
        "name": "f",
        "tool_return": '{"x":1,"key":"[secret KEY][secret KEY]"}',
        "tool_call_id": "null",
    }
    assert answer["sandbox_config_fingerprint"] in ("bubblewrap:no-network", "landlock:no-network")


async def test_the_function_to_run_can_be_named(served: Served) -> None:
    body = {"source_code": "def a():\n    '''A.'''\n    return 'a'\ndef b(): return 'b'", "args": {}}
    assert (await served.http.post("/v1/tools/run", json=body)).json()["func_return"] == "a"
    assert (await served.http.post("/v1/tools/run", json={**body, "name": "b"})).json()["func_return"] == "b"
    assert "no function called 'c'" in await refused(
        await served.http.post("/v1/tools/run", json={**body, "name": "c"})
    )


async def test_an_error_shows_the_tools_own_lines_and_none_of_the_servers(served: Served) -> None:
    body = {"source_code": "def f(x):\n    return inner(x)\ndef inner(x):\n    return 1 / x", "args": {"x": 0}}
    answer = (await served.http.post("/v1/tools/run", json=body)).json()
    assert answer["status"] == "error"
    lines = [line for line in answer["tool_return"].splitlines() if set(line.strip()) - set("^~")]
    assert lines == [
        "Error: Traceback (most recent call last):",
        '  File "f.py", line 2, in f',
        "    return inner(x)",
        '  File "f.py", line 4, in inner',
        "    return 1 / x",
        "ZeroDivisionError: division by zero",
    ]
    assert answer["func_return"] == answer["tool_return"]


async def test_wrong_arguments_are_told_without_a_traceback(served: Served) -> None:
    answer = (await served.http.post("/v1/tools/run", json={"source_code": ROLL, "args": {"side": 1}})).json()
    assert answer["tool_return"] == "Error: TypeError: roll() was called wrongly: missing a required argument: 'sides'"


@pytest.mark.parametrize(
    ("source", "arguments", "result"),
    [
        ("async def f(x): return x + 1", {"x": 1}, 2),
        ("def f(x=2, y: dict = {1: 2}, z: int = 99999999999999999999): return [x, y, z % 10]", {"x": 2.5, "y": {}},
         [2.5, {}, 9]),
        ("def f(): return None", {}, None),
        ("def f(x: float): return type(x).__name__", {"x": 1}, "float"),
        ("import datetime\ndef f(d: datetime.date): return d.year, d", {"d": "2026-01-31"}, [2026, "2026-01-31"]),
        ("import enum\nclass E(enum.Enum):\n    A = 'a'\ndef f(e: E): return e.name, e", {"e": "a"}, ["A", "a"]),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    n: int\ndef f(p: list[P]): return p[0].n, p",
         {"p": [{"n": 1}]}, [1, [{"n": 1}]]),
        ("from typing import *\ndef f(x: Union[int, str, None] = None): return x", {"x": "a"}, "a"),
        ("from typing import *\ndef f(s: Set[int], t: Tuple[int, str]): return sorted(s), type(t).__name__",
         {"s": [2, 2, 1], "t": [1, "a"]}, [[1, 2], "tuple"]),
        ("def f(): return {'b': b'bytes', 's': {1}, 'p': __import__('pathlib').PurePath('x')}", {},
         {"b": "bytes", "s": [1], "p": "x"}),
        ("from decimal import Decimal\ndef f(): return Decimal('1.5')", {}, "1.5"),
        ("import numpy\ndef f(): return numpy.arange(3), numpy.float64(1.5)", {}, [[0, 1, 2], 1.5]),
    ],
)  # fmt: skip
async def test_arguments_and_results_have_the_types_that_were_declared(
    served: Served, source: str, arguments: dict[str, Any], result: Any
) -> None:
    answer = (await served.http.post("/v1/tools/run", json={"source_code": source, "args": arguments})).json()
    assert (answer["status"], answer["func_return"]) == ("success", result), answer["tool_return"]


MODES = """
from typing import Literal, Optional

def modes(mode: Literal["a", "b"], items: list[int], ratio: float = 0.5, more: Optional[dict[str, int]] = None):
    '''Take them.'''
    return [mode, items, ratio, more]
"""
UNFIT = "Error: the arguments do not fit: mode: 'c' is not one of ['a', 'b']; items[0]: 'x' is not of type 'integer'."


async def test_arguments_of_other_types_are_an_error_before_the_tool_is_called(served: Served) -> None:
    wrong: dict[str, Any] = {"mode": "c", "items": ["x"]}
    once = (await served.http.post("/v1/tools/run", json={"source_code": MODES, "args": wrong})).json()
    named = (
        await served.http.post("/v1/tools/run", json={"source_code": MODES, "name": "modes", "args": wrong})
    ).json()
    agent = await agent_with(served, MODES)
    stored = await run_for(served, agent, "modes", **wrong)
    assert [(ran["status"], ran["func_return"]) for ran in (once, named, stored)] == [("error", UNFIT)] * 3


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"mode": "a", "items": ["3", 4.0], "ratio": "2.5"}, ["a", [3, 4], 2.5, None]),
        ({"mode": "b", "items": [], "more": {"x": 1}}, ["b", [], 0.5, {"x": 1}]),
        ({"mode": "b", "items": [], "more": None}, ["b", [], 0.5, None]),
        ({"mode": None, "items": []}, "Error: the arguments do not fit: mode: None is not possible."),
        ({"mode": "a", "items": [True]}, "Error: the arguments do not fit: items[0]: True is not of type 'integer'."),
        ({"mode": "a", "items": [], "more": {"x": "y"}},
         "Error: the arguments do not fit: more.x: 'y' is not of type 'integer'."),
    ],
)  # fmt: skip
async def test_numbers_may_be_written_as_text_and_optional_arguments_be_null(
    served: Served, arguments: dict[str, Any], result: Any
) -> None:
    answer = (await served.http.post("/v1/tools/run", json={"source_code": MODES, "args": arguments})).json()
    assert answer["func_return"] == result


async def test_a_schema_that_was_given_is_what_arguments_must_fit(served: Served) -> None:
    def schema(kind: Any) -> dict[str, Any]:
        return {"name": "f", "parameters": {"type": "object", "properties": {"x": kind}, "required": ["x"]}}

    async def told(kind: Any) -> str:
        source = "def f(x):\n    return x"
        body = {"source_code": source, "json_schema": schema(kind), "args": {"x": [1]}}
        return str((await served.http.post("/v1/tools/run", json=body)).json()["func_return"])

    assert (
        await told({"type": "array", "maxItems": 0})
        == "Error: the arguments do not fit: x: [1] is expected to be empty."
    )
    # Neither followed, nor run, nor an error: what is no JSON Schema, or points elsewhere.
    assert await told({"type": "List[str]"}) == "[1]"
    assert await told({"$ref": "http://127.0.0.1:9/elsewhere"}) == "[1]"
    assert await told({"items": {"pattern": "(a+)+$"}}) == "[1]"


WHOAMI = """
def whoami(agent_state):
    '''Who am I?'''
    import os
    return [agent_state.name, agent_state["id"], agent_state.memory.blocks[0].value, os.environ["LETTA_AGENT_ID"],
            len(os.environ["TOKEN"])]
"""


async def test_a_tool_knows_the_agent_and_its_secrets(served: Served) -> None:
    blocks = [{"label": "human", "value": "Ada"}]
    agent = await agent_with(served, WHOAMI, name="Bob", memory_blocks=blocks, secrets={"TOKEN": "12345678"})
    result = await run_for(served, agent, "whoami")
    assert result == {
        "status": "success",
        "func_return": ["Bob", agent["id"], "Ada", agent["id"], 8],
        "stdout": [],
        "stderr": [],
        "agent_state": None,
        "sandbox_config_fingerprint": result["sandbox_config_fingerprint"],
    }


CLIENT = """
def remember(text: str):
    '''Write a block.'''
    import os
    agent_id = os.environ["LETTA_AGENT_ID"]
    client.agents.blocks.update("human", agent_id=agent_id, value=text)
    return client.agents.blocks.retrieve("human", agent_id=agent_id).value
"""


@pytest.mark.parametrize("password", [None, "open sesame"])
async def test_a_tool_reaches_the_api_through_its_client(tmp_path: Path, password: str | None) -> None:
    async with serve(tmp_path, server_password=password) as served:
        served.http.headers["authorization"] = f"Bearer {password}"
        agent = await agent_with(served, CLIENT, memory_blocks=[{"label": "human", "value": "?"}])
        result = await run_for(served, agent, "remember", text="Ada")
        assert (result["status"], result["func_return"]) == ("success", "Ada")
        block = await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")
        assert block.json()["value"] == "Ada"


@pytest.mark.parametrize(
    "expression",
    [
        "client.tools.create(source_code='def g(): ...')",
        "client.tools.update('tool-1', metadata={'allow_network': True})",
        "client.post('/v1/tools/run', cast_to=object, body={'source_code': 'def g(): ...'})",
        "client.post('//v1//tools/run/', cast_to=object, body={})",
        "client.post('/v1/%74ools/run', cast_to=object, body={})",
        "client.post('/v1/blocks/../tools/run', cast_to=object, body={})",
        "client.put('/v1/mcp-servers/', cast_to=object, body={})",
        "client.post('/v1/providers/', cast_to=object, body={})",
        "client.agents.tools.run('run_code', agent_id='agent-1', args={})",
    ],
)
async def test_the_client_does_not_let_a_tool_out_of_its_sandbox(served: Served, expression: str) -> None:
    source = f"def f():\n    return repr({expression})"
    answer = (await served.http.post("/v1/tools/run", json={"source_code": source, "args": {}})).json()
    assert answer["status"] == "error"
    assert "PermissionDeniedError" in answer["tool_return"]


async def test_a_built_in_tool_is_run_for_an_agent(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": "Ada"}])
    result = await run_for(served, agent, "memory_replace", label="human", old_string="Ada", new_string="Bob")
    assert result["status"] == "success"
    block = await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")
    assert block.json()["value"] == "Bob"
    failed = await run_for(served, agent, "memory_replace", label="human", old_string="Ada", new_string="Bob")
    assert failed["status"] == "error"
    answer = await served.http.post(f"/v1/agents/{agent['id']}/tools/unheard/run", json={"args": {}})
    assert "has no tool called 'unheard'" in await refused(answer, 404)


# -- in a conversation -------------------------------------------------------------------------------------------------


def returns(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found = [message for message in answer["messages"] if message["message_type"] == "tool_return_message"]
    return [
        {name: message[name] for name in ("name", "status", "tool_return", "stdout", "stderr")} for message in found
    ]


async def test_an_agent_calls_a_tool_and_reads_its_result(tmp_path: Path) -> None:
    script = [Call("roll", {"sides": 6, "times": 2}), "You rolled two sixes."]
    async with serve(tmp_path, script) as served:
        agent = await agent_with(served, ROLL)
        answer = await served.send(agent["id"], "Roll!")
    assert returns(answer) == [
        {"name": "roll", "status": "success", "tool_return": "[6,6]", "stdout": None, "stderr": None}
    ]
    assert answer["messages"][-1]["content"] == "You rolled two sixes."


async def test_a_tool_that_fails_tells_the_agent_and_the_turn_goes_on(tmp_path: Path) -> None:
    source = "def fail(why: str):\n    '''Fail.'''\n    print('trying')\n    raise ValueError(why)"
    script = [Call("fail", {"why": "because"}), "It failed."]
    async with serve(tmp_path, script) as served:
        agent = await agent_with(served, source, secrets={"WHY": "because"})
        answer = await served.send(agent["id"], "Try!")
    [returned] = returns(answer)
    assert (returned["status"], returned["stdout"]) == ("error", ["trying"])
    assert returned["tool_return"].endswith("ValueError: [secret WHY]")
    assert answer["messages"][-1]["content"] == "It failed."


async def test_an_agent_is_told_which_arguments_do_not_fit(tmp_path: Path) -> None:
    script = [Call("modes", {"mode": "c", "items": ["x"]}), "I see."]
    async with serve(tmp_path, script) as served:
        agent = await agent_with(served, MODES)
        answer = await served.send(agent["id"], "Go!")
    assert returns(answer) == [
        {"name": "modes", "status": "error", "tool_return": UNFIT, "stdout": None, "stderr": None}
    ]


async def test_an_agent_runs_code(tmp_path: Path) -> None:
    script = [Call("run_code", {"language": "python", "code": "print(6 * 7)"}), "42."]
    async with serve(tmp_path, script) as served:
        [tool] = (await served.http.get("/v1/tools/", params={"name": "run_code"})).json()
        agent = await served.agent(tool_ids=[tool["id"]])
        answer = await served.send(agent["id"], "Compute!")
        [returned] = returns(answer)
        assert (returned["status"], returned["tool_return"]) == ("success", "42")
        failed = await run_for(served, agent, "run_code", language="python", code="print('a')\n1 / 0")
        assert failed["status"] == "error"
        assert failed["func_return"].startswith("a\nError: Traceback")
        silent = await run_for(served, agent, "run_code", language="python", code="x = 1")
        assert silent["func_return"] == "(no output)"
        wrong = await run_for(served, agent, "run_code", language="cobol", code="")
        assert (wrong["status"], "language must be one of python, js, ts" in wrong["func_return"]) == ("error", True)
