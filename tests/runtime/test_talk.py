"""Agents that talk to each other."""

import asyncio
from typing import Any

import orjson
from tests.arrival.conftest import Serve, make_server, postgres_url
from tests.serving import Served

from letta.runtime.talk import MAX_RECIPIENTS

__all__ = ["make_server", "postgres_url"]

ASK = "send_message_to_agent_and_wait_for_reply"


def script(*steps: Any) -> str:
    return f"!script {orjson.dumps(list(steps)).decode()}"


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"call": name, "args": arguments}


async def pair(served: Served) -> tuple[str, str]:
    made = [await served.agent(name=name, include_multi_agent_tools=True, tags=["team"]) for name in ("ann", "ben")]
    return made[0]["id"], made[1]["id"]


def tool_return(answer: dict[str, Any]) -> str:
    found: str = next(m["tool_return"] for m in answer["messages"] if m["message_type"] == "tool_return_message")
    return found


async def test_reply_of_the_other_agent_comes_back_as_the_result(served: Served) -> None:
    ann, ben = await pair(served)
    answer = await served.send(ann, script(call(ASK, other_agent_id=ben, message="what is 2 + 3?"), "done"))
    asked = (await served.http.get(f"/v1/agents/{ben}/messages")).json()[1]
    assert "5" in tool_return(answer)
    assert asked["message_type"] == "system_message"
    assert asked["sender_id"] == ann
    assert "Message from agent 'ann'" in asked["content"]


async def test_queued_message_does_not_wait_for_the_other_agent(served: Served) -> None:
    ann, ben = await pair(served)
    text = script(call("send_message_to_agent_async", other_agent_id=ben, message="!wait 30 hello"), "sent")
    answer = await served.send(ann, text)
    runs = (await served.http.get("/v1/runs/", params={"agent_id": ben})).json()
    await served.http.post(f"/v1/agents/{ben}/messages/cancel", json={})
    assert "queued" in tool_return(answer)
    assert runs[0]["status"] in ("created", "running")


async def test_agents_with_tags_are_asked_at_once(served: Served) -> None:
    ann, _ = await pair(served)
    await served.agent(name="cid", tags=["team", "new"])
    everybody = await served.send(
        ann, script(call("send_message_to_agents_matching_tags", match_all=["team"], message="what is 1 + 1?"), "ok")
    )
    few = await served.send(
        ann,
        script(
            call(
                "send_message_to_agents_matching_tags", match_all=["team"], match_some=["new"], message="what is 2 + 2?"
            ),
            "ok",
        ),
    )
    assert {reply["agent"] for reply in orjson.loads(tool_return(everybody))} == {"ben", "cid"}
    assert [reply["agent"] for reply in orjson.loads(tool_return(few))] == ["cid"]


async def test_every_agent_with_the_tags_is_found_however_many_have_some_of_them(make_server: Serve) -> None:
    async with make_server() as served:
        ann = (await served.agent(name="ann", include_multi_agent_tools=True, tags=["bulk", "special"]))["id"]
        for number in range(MAX_RECIPIENTS + 1):
            await served.agent(name=f"other-{number}", tags=["bulk"])
        await served.agent(name="last", tags=["bulk", "special"])
        asking = call(
            "send_message_to_agents_matching_tags",
            match_all=["bulk"],
            match_some=["special", "unknown"],
            message="what is 1 + 1?",
        )
        answer = await served.send(ann, script(asking, "ok"))
    assert [reply["agent"] for reply in orjson.loads(tool_return(answer))] == ["last"]


async def test_asking_back_is_refused_instead_of_waiting_for_ever(served: Served) -> None:
    ann, ben = await pair(served)
    back = script(call(ASK, other_agent_id=ann, message="no, you"), "I was refused.")
    answer = await served.send(ann, script(call(ASK, other_agent_id=ben, message=back), "done"))
    assert "I was refused." in tool_return(answer)


async def test_two_agents_that_ask_each_other_at_once_do_not_deadlock(served: Served) -> None:
    ann, ben = await pair(served)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            served.send(ann, script(call(ASK, other_agent_id=ben, message="hi"), "done")),
            served.send(ben, script(call(ASK, other_agent_id=ann, message="hi"), "done")),
        )
    assert [answer["messages"][-1]["content"] for answer in answers] == ["done", "done"]


async def test_unknown_agent_is_an_error_the_model_sees(served: Served) -> None:
    ann, _ = await pair(served)
    unknown = "agent-00000000-0000-4000-8000-000000000000"
    answer = await served.send(ann, script(call(ASK, other_agent_id=unknown, message="hi"), "done"))
    assert tool_return(answer) == f"Error: agent {unknown} not found"


async def test_own_id_is_refused(served: Served) -> None:
    ann, _ = await pair(served)
    answer = await served.send(ann, script(call(ASK, other_agent_id=ann, message="hi"), "done"))
    assert "your own id" in tool_return(answer)
