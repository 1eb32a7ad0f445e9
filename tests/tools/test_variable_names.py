"""Names of secrets, which become environment variables of tools."""

import logging
from typing import Any

import pytest
from sqlalchemy import update
from tests.serving import Served

from letta.store.tables import agents

SOURCE = "def look():\n    '''Look.'''\n    import os\n    return os.environ.get('GOOD')"
BAD = ["X=Y", "", "1ST", "A-B", "A B", "Ä", "A\n", "A" * 257]


async def test_names_that_no_environment_takes_are_refused(served: Served) -> None:
    agent = await served.agent(secrets={"_a1": "v"})
    for name in BAD:
        bad, shown = {"GOOD": "v", name: "the value"}, f"{name[:256]!r} is not the name of an environment variable"
        for field in ("secrets", "tool_exec_environment_variables"):
            made = await served.http.post("/v1/agents/", json={"model": "letta/scripted", field: bad})
            changed = await served.http.patch(f"/v1/agents/{agent['id']}", json={field: bad})
            for answer in (made, changed):
                assert answer.status_code == 422
                assert answer.json()["detail"].startswith(f"{field}: {shown}")
                assert "the value" not in answer.text
        run = await served.http.post("/v1/tools/run", json={"source_code": SOURCE, "env_vars": bad})
        assert run.status_code == 422
        assert run.json()["detail"].startswith(f"env_vars: {shown}")


async def test_a_name_stored_before_names_were_checked_breaks_no_tool(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    tool = (await served.http.post("/v1/tools/", json={"source_code": SOURCE})).json()
    agent = await served.agent(tool_ids=[tool["id"]])
    old: dict[str, Any] = {"secrets": served.parts.vault.lock({"X=Y": "the value", "": "the value", "GOOD": "yes"})}
    await served.parts.database.write(
        lambda connection: connection.execute(update(agents).where(agents.c.id == agent["id"]).values(old))
    )
    with caplog.at_level(logging.WARNING):
        answer = await served.http.post(f"/v1/agents/{agent['id']}/tools/look/run", json={})
    assert (answer.json()["status"], answer.json()["func_return"]) == ("success", "yes")
    assert f"a secret of agent {agent['id']} is left out: 'X=Y'" in caplog.text
    assert "the value" not in caplog.text
