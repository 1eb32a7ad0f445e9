"""The memory tools as an agent uses them: through calls of the model, looked at through the API."""

from pathlib import Path
from typing import Any

import pytest
from tests.serving import serve

from letta.models.scripted import Call

NAMES = [
    "core_memory_append", "core_memory_replace", "memory_insert", "memory_replace", "memory_rethink", "memory",
    "memory_apply_patch", "memory_finish_edits",
]  # fmt: skip
TEXT = "Name: Bob\nLikes tea.\nLikes tea with milk."

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("core_memory_append", {"label": "human", "content": "Tall."}, f"{TEXT}\nTall.", "Tall."),
    (
        "core_memory_replace",
        {"label": "human", "old_content": "tea", "new_content": "coffee"},
        TEXT.replace("tea", "coffee"),
        "coffee",
    ),
    ("core_memory_replace", {"label": "human", "old_content": "", "new_content": "x"}, TEXT, "old_content is empty"),
    ("core_memory_replace", {"label": "human", "old_content": "zebra", "new_content": "x"}, TEXT, "was not found"),
    ("memory_insert", {"label": "human", "new_string": "Tall."}, f"{TEXT}\nTall.", "was edited"),
    ("memory_insert", {"label": "human", "new_string": "Tall.", "insert_line": 0}, f"Tall.\n{TEXT}", "was edited"),
    (
        "memory_insert",
        {"label": "human", "new_string": "a\tb", "insert_line": 1},
        "Name: Bob\na       b\nLikes tea.\nLikes tea with milk.",
        "was edited",
    ),
    ("memory_insert", {"label": "human", "new_string": "x", "insert_line": 9}, TEXT, "use 0 (top) to 3 (last line)"),
    ("memory_insert", {"label": "human", "new_string": "1→ x"}, TEXT, "contains line numbers"),
    (
        "memory_replace",
        {"label": "human", "old_string": "Bob", "new_string": "Eve"},
        TEXT.replace("Bob", "Eve"),
        "was edited",
    ),
    (
        "memory_replace",
        {"label": "human", "old_string": "tea", "new_string": "x"},
        TEXT,
        "occurs 2 times, in lines 2, 3",
    ),
    ("memory_replace", {"label": "human", "old_string": "zebra", "new_string": "x"}, TEXT, "was not found"),
    ("memory_replace", {"label": "human", "old_string": "", "new_string": "x"}, TEXT, "old_string is empty"),
    ("memory_rethink", {"label": "human", "new_memory": "New."}, "New.", "was rewritten"),
    ("memory_rethink", {"label": "", "new_memory": "New."}, TEXT, "must not be empty"),
    (
        "memory_apply_patch",
        {"label": "human", "patch": "*** Move Block: human -> a/"},
        TEXT,
        "begin or end with a slash",
    ),
    (
        "memory_apply_patch",
        {"label": "human", "patch": " Name: Bob\n-Likes tea.\n+Likes coffee."},
        TEXT.replace("Likes tea.\n", "Likes coffee.\n"),
        "was patched",
    ),
    ("memory_apply_patch", {"label": "human", "patch": "-Likes rum."}, TEXT, "does not fit"),
    ("memory_apply_patch", {"label": "human", "patch": "Likes rum."}, TEXT, "begins with 'L'"),
    (
        "memory",
        {"command": "str_replace", "path": "/memories/human", "old_string": "Bob", "new_string": "Eve"},
        TEXT.replace("Bob", "Eve"),
        "was edited",
    ),
    (
        "memory",
        {"command": "insert", "path": "/memories/human", "insert_line": 0, "insert_text": "Top"},
        f"Top\n{TEXT}",
        "was edited",
    ),
    ("memory", {"command": "dance"}, TEXT, "must be one of create, str_replace, insert, delete, rename"),
    ("memory", {"command": "insert", "path": "/memories/human"}, TEXT, "insert_text is missing"),
    ("memory_finish_edits", {}, TEXT, "finished"),
    ("memory_insert", {"label": "persona", "new_string": "x"}, TEXT, "'persona' is read-only"),
    ("memory_insert", {"label": "nowhere", "new_string": "x"}, TEXT, "has human, persona"),
    ("memory_insert", {"label": "human", "new_string": "y" * 500}, TEXT, "its limit is 300"),
    ("memory_insert", {"label": "human", "text": "y"}, TEXT, "new_string is missing; text is not an argument"),
    ("memory_insert", {"label": "human", "new_string": 5}, TEXT, "new_string must be of type string"),
]


@pytest.mark.parametrize(("name", "args", "value", "said"), CASES)
async def test_memory_tool(tmp_path: Path, name: str, args: dict[str, Any], value: str, said: str) -> None:
    async with serve(tmp_path, [Call(name, args), "ok"]) as served:
        blocks = [
            {"label": "human", "value": TEXT, "limit": 300},
            {"label": "persona", "value": "Kind.", "read_only": True},
        ]
        agent = await served.agent(include_base_tools=False, tools=NAMES, memory_blocks=blocks)
        answer = await served.send(agent["id"], "go")
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
    assert said in answer["messages"][1]["tool_return"]
    assert block["value"] == value


async def test_agent_makes_renames_and_drops_blocks(tmp_path: Path) -> None:
    script = [
        Call("memory", {"command": "create", "path": "/memories/plan", "description": "Plans.", "file_text": "Rest."}),
        Call("memory", {"command": "rename", "old_path": "/memories/plan", "new_path": "/memories/todo"}),
        Call("memory", {"command": "rename", "path": "/memories/todo", "description": "Things to do."}),
        Call("memory", {"command": "delete", "path": "/memories/human"}),
        Call("memory_rethink", {"label": "ideas", "new_memory": "None yet."}),
        Call(
            "memory_apply_patch",
            {"label": "", "patch": "*** Add Block: log\n+started\n*** Update Block: ideas\n-None yet.\n+One."},
        ),
        "done",
    ]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(
            include_base_tools=False, tools=NAMES, memory_blocks=[{"label": "human", "value": "Bob"}]
        )
        await served.send(agent["id"], "go")
        blocks = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks")).json()
    assert [(block["label"], block["value"], block["description"]) for block in blocks] == [
        ("todo", "Rest.", "Things to do."),
        ("ideas", "One.", None),
        ("log", "started", None),
    ]


async def test_history_says_which_step_wrote_what(tmp_path: Path) -> None:
    async with serve(tmp_path, [Call("memory_insert", {"label": "human", "new_string": "Tall."}), "ok"]) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
        answer = await served.send(agent["id"], "go")
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        [newest, _] = (await served.http.get(f"/v1/blocks/{block['id']}/versions")).json()
    called = answer["messages"][0]
    assert {key: newest[key] for key in ("version", "value", "author_type", "author_id", "action")} == {
        "version": 2,
        "value": "Bob\nTall.",
        "author_type": "agent",
        "author_id": agent["id"],
        "action": "edit",
    }
    assert (newest["run_id"], newest["step_id"], newest["message_id"]) == (
        called["run_id"],
        called["step_id"],
        called["id"],
    )


async def test_conversation_search_finds_what_is_no_longer_shown(tmp_path: Path) -> None:
    script = ["Noted.", Call("conversation_search", {"query": "zebra"}), "Found."]
    async with serve(tmp_path, script) as served:
        agent = await served.agent()
        await served.send(agent["id"], "My favourite animal is the zebra.")
        await served.http.patch(f"/v1/agents/{agent['id']}/reset-messages", json={})
        answer = await served.send(agent["id"], "Which animal?")
        shown = served.model.requests[1].messages
    assert [message.text for message in shown] == ["Which animal?"]
    assert "favourite animal is the zebra" in answer["messages"][1]["tool_return"]
