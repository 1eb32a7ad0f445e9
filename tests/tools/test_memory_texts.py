"""Characters that databases do not take, in what a model writes; and what a log says of a database's refusal."""

import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.arrival.conftest import Serve

from letta.models.scripted import Call

NUL = "\x00"


@pytest.mark.parametrize(
    ("tool", "arguments", "value"),
    [
        ("memory_insert", {"label": "human", "new_string": f"z{NUL}z"}, "Bob\nzz"),
        ("memory_rethink", {"label": "human", "new_memory": f"{NUL}new"}, "new"),
        ("memory_rethink", {f"la{NUL}bel": "human", "new_memory": "new"}, "new"),
        ("core_memory_append", {"label": f"hum{NUL}an", "content": f"{NUL}"}, "Bob\n"),
        (
            "memory",
            {"command": "rename", "path": "/memories/human", "description": f"a{NUL}b"},
            "Bob",
        ),
    ],
    ids=["insert", "rethink", "key", "label", "description"],
)
async def test_nul_characters_of_a_model_are_left_out(
    make_server: Serve, tool: str, arguments: dict[str, Any], value: str
) -> None:
    # json.dumps writes NUL as an escape, as models do.
    async with make_server([Call(tool, json.dumps(arguments))], "done") as served:
        agent = await served.agent(
            memory_blocks=[{"label": "human", "value": "Bob", "description": "Who asks."}], tools=[tool]
        )
        answer = await served.send(agent["id"], "go")
        [returned] = [m for m in answer["messages"] if m["message_type"] == "tool_return_message"]
        assert returned["status"] == "success", returned["tool_return"]
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        assert block["value"] == value
        assert block["description"] == ("ab" if "description" in arguments else "Who asks.")


async def test_errors_of_the_database_do_not_repeat_what_was_to_be_stored(make_server: Serve) -> None:
    async with make_server() as served:
        with pytest.raises(DBAPIError) as refused:
            await served.parts.database.write(
                lambda connection: connection.execute(text("SELECT :said; SELECT 2"), {"said": "hush"})
            )
        assert "SELECT 2" in str(refused.value)
        assert "hush" not in str(refused.value)
