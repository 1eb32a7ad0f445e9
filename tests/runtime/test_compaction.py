"""Long conversations: they always fit, nothing is lost, and the model keeps what matters."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.arrival.conftest import Gate
from tests.serving import Served, serve

from letta.errors import ContextOverflow, ModelServerError
from letta.memory.tokens import estimate
from letta.models.protocol import ModelRequest
from letta.models.scripted import Call

SMALL = {"context_window_limit": 6000}
LONG = "word " * 300


def size(request: ModelRequest) -> int:
    return estimate(request.system, request.messages)


def is_summary_call(request: ModelRequest) -> bool:
    return "You write the memory of an agent" in request.system[0]


async def fill(served: Served, agent_id: str, turns: int) -> list[dict[str, Any]]:
    return [await served.send(agent_id, f"Turn {number}: {LONG}") for number in range(turns)]


async def listed(served: Served, agent_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        await served.http.get(f"/v1/agents/{agent_id}/messages", params={"limit": 1000})
    ).json()
    return found


async def test_conversation_is_compacted_before_it_overflows(served: Served) -> None:
    agent = await served.agent(**SMALL)
    await fill(served, agent["id"], 20)
    calls = [request for request in served.model.requests if not is_summary_call(request)]
    everything = await listed(served, agent["id"])
    assert len(calls) == 20
    assert all(size(request) <= 6000 for request in calls)
    assert calls[-1].messages[0].role == "summary"
    assert calls[-1].messages[-1].text.startswith("Turn 19")
    assert (
        sum(message["message_type"] == "user_message" and "Turn" in message["content"] for message in everything) >= 20
    )


async def test_overflow_reported_by_the_provider_is_answered_with_compaction(tmp_path: Path) -> None:
    async with serve(tmp_path, ["one", "two", "three", ContextOverflow("too long"), "A summary.", "four"]) as served:
        agent = await served.agent()
        await fill(served, agent["id"], 3)
        answer = await served.send(agent["id"], "Turn 3", include_compaction_messages=True)
        last = served.model.requests[-1]
    kinds = [message["message_type"] for message in answer["messages"]]
    assert kinds == ["event_message", "summary_message", "assistant_message"]
    summary = answer["messages"][1]
    assert summary["summary"] == "A summary."
    assert summary["compaction_stats"]["trigger"] == "context_window_exceeded"
    assert last.messages[0].text.endswith("A summary.")


async def test_run_goes_on_when_somebody_empties_the_window_it_compacts(tmp_path: Path) -> None:
    gate = Gate("A summary.")
    async with serve(tmp_path, ["one", ContextOverflow("too long"), gate, "two"]) as served:
        agent = await served.agent()
        await fill(served, agent["id"], 1)
        sending = asyncio.create_task(served.send(agent["id"], "Turn 1"))
        await gate.reached.wait()
        emptied = await served.http.patch(f"/v1/agents/{agent['id']}/reset-messages", json={})
        gate.open.set()
        answer = await sending
        last = served.model.requests[-1]
    assert emptied.status_code == 200
    assert [message["content"] for message in answer["messages"]] == ["two"]
    assert [message.text for message in last.messages] == ["Turn 1"]


async def test_window_that_only_the_prompt_fills_ends_with_its_own_reason(served: Served) -> None:
    agent = await served.agent(system="long " * 9000, **SMALL)
    answer = await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"input": "hi"})
    [run] = (await served.http.get("/v1/runs/", params={"agent_id": agent["id"]})).json()
    assert answer.status_code == 400
    assert "choose a model with a larger window" in answer.json()["error"]["message"]
    assert run["stop_reason"] == "context_window_overflow_in_system_prompt"


async def test_message_larger_than_the_window_is_cut_for_the_model_only(served: Served) -> None:
    agent = await served.agent(**SMALL)
    answer = await served.send(agent["id"], "x " * 40_000)
    stored = (await listed(served, agent["id"]))[1]["content"]
    assert answer["stop_reason"]["stop_reason"] == "end_turn"
    assert size(served.model.requests[0]) <= 6000
    assert "characters were cut out here" in served.model.requests[0].messages[0].text
    assert len(stored) == 80_000


async def test_call_and_result_are_never_separated(tmp_path: Path) -> None:
    search = Call("conversation_search", {"query": "word", "limit": 1})
    async with serve(tmp_path, []) as served:
        agent = await served.agent(**SMALL)
        for number in range(12):
            await served.send(
                agent["id"],
                f'!script [{{"call":"{search.name}","args":{{"query":"word","limit":1}}}},"{LONG} {number}"]',
            )
        for request in served.model.requests:
            calls = [call.id for message in request.messages for call in message.tool_calls]
            results = [result.tool_call_id for message in request.messages for result in message.tool_returns]
            assert calls == results


@pytest.mark.parametrize("mode", ["sliding_window", "all", "self_compact_sliding_window", "self_compact_all"])
async def test_every_mode_leaves_a_summary_and_the_end(served: Served, mode: str) -> None:
    agent = await served.agent()
    await fill(served, agent["id"], 6)
    body = {"compaction_settings": {"mode": mode}}
    done = (await served.http.post(f"/v1/agents/{agent['id']}/summarize", json=body)).json()
    await served.send(agent["id"], "And now?")
    shown = served.model.requests[-1].messages
    assert done["summary"]
    assert done["num_messages_after"] < done["num_messages_before"] == 13
    assert shown[0].role == "summary"
    assert shown[-1].text == "And now?"
    if mode.endswith("all"):
        assert len(shown) <= 3
    if mode.startswith("self"):
        assert served.model.requests[-2].messages[-1].text.startswith("You write the memory")


async def test_three_compactions_change_no_listing_and_no_search(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        agent = await served.agent()
        await served.send(agent["id"], "The password of the cellar is 'quince'.")
        await fill(served, agent["id"], 6)
        before = [message["id"] for message in await listed(served, agent["id"])]
        for _ in range(3):
            await served.http.post(f"/v1/agents/{agent['id']}/summarize", json={})
        after = [message["id"] for message in await listed(served, agent["id"])]
        found = await served.send(
            agent["id"], '!script [{"call":"conversation_search","args":{"query":"cellar"}},"ok"]'
        )
    assert [message_id for message_id in after if message_id in set(before)] == before
    assert "quince" in found["messages"][1]["tool_return"]


async def test_no_model_for_summaries_still_converges(tmp_path: Path) -> None:
    async with serve(tmp_path, ["one", "two", "three", ModelServerError("down"), "fine"]) as served:
        agent = await served.agent()
        await fill(served, agent["id"], 3)
        done = (await served.http.post(f"/v1/agents/{agent['id']}/summarize", json={})).json()
        answer = await served.send(agent["id"], "hello")
    assert "no model could summarise them" in done["summary"]
    assert "user: Turn 0" in done["summary"]
    assert answer["messages"][0]["content"] == "fine"


async def test_waiting_call_survives_compaction(tmp_path: Path) -> None:
    insert = Call("memory_insert", {"label": "human", "new_string": "Tall."})
    async with serve(tmp_path, ["one", "two", insert, "A summary.", "Noted."]) as served:
        agent = await served.agent(
            memory_blocks=[{"label": "human", "value": ""}],
            tool_rules=[{"type": "requires_approval", "tool_name": "memory_insert"}],
        )
        await fill(served, agent["id"], 2)
        asked = await served.send(agent["id"], "I am tall")
        await served.http.post(f"/v1/agents/{agent['id']}/summarize", json={"compaction_settings": {"mode": "all"}})
        body = {"type": "approval", "approve": True, "approval_request_id": asked["messages"][0]["id"]}
        answer = (await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"messages": [body]})).json()
    assert answer["messages"][-1]["content"] == "Noted."


async def test_summarizer_nobody_has_is_refused_by_the_name_of_its_field(tmp_path: Path) -> None:
    async with serve(tmp_path, scripted_models=False) as served:
        agent = await served.agent()
        path = f"/v1/agents/{agent['id']}"
        for handle, status in (("garbage", 400), ("no/body", 404)):
            body = {"compaction_settings": {"model": handle}}
            answers = [
                await served.http.post("/v1/agents/", json={"model": agent["model"], **body}),
                await served.http.patch(path, json=body),
                await served.http.post(f"{path}/summarize", json=body),
            ]
            assert [answer.status_code for answer in answers] == [status] * 3
            assert all("compaction_settings.model: " in answer.json()["detail"] for answer in answers)
        taken = await served.http.patch(path, json={"compaction_settings": {"model": "letta/scripted"}})
    assert taken.json()["compaction_settings"]["model"] == "letta/scripted"


async def test_report_counts_every_part(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
    await fill(served, agent["id"], 2)
    report = (await served.http.get(f"/v1/agents/{agent['id']}/context")).json()
    parts = [name for name in report if name.startswith("num_tokens_")]
    assert report["context_window_size_current"] == sum(report[name] for name in parts)
    assert report["num_tokens_messages"] > 600
    assert "Bob" in report["core_memory"]
    assert report["num_messages"] == 5


async def test_report_shows_what_the_model_is_shown_of_long_results(tmp_path: Path) -> None:
    text = "word " * 10_000
    tool = {"name": "look", "description": "Looks", "parameters": {"type": "object", "properties": {}}}
    async with serve(tmp_path, [Call("look", {}), "Long."]) as served:
        agent = await served.agent(context_window_limit=8000)
        path = f"/v1/agents/{agent['id']}"
        asked = await served.send(agent["id"], "Look", client_tools=[tool])
        call = asked["messages"][0]["tool_call"]["tool_call_id"]
        result = {"type": "tool", "tool_call_id": call, "tool_return": text, "status": "success"}
        body = {"messages": [{"type": "approval", "approvals": [result]}]}
        assert (await served.http.post(f"{path}/messages", json=body)).status_code == 200
        report = (await served.http.get(f"{path}/context")).json()
        [shown] = [one for message in served.model.requests[-1].messages for one in message.tool_returns]
    assert len(str(shown.content)) < 10_000
    assert report["context_window_size_current"] <= report["context_window_size_max"]
    [told] = [part["content"] for part in report["messages"] if "word word" in part["content"]]
    assert told.count("word") == str(shown.content).count("word")


async def test_report_says_when_the_model_last_saw_each_block(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}, {"label": "persona", "value": "Sam"}])
    path = f"/v1/agents/{agent['id']}"

    async def blocks(**params: str) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = (await served.http.get(f"{path}/context", params=params)).json()["blocks"]
        return shown

    async def seen(**params: str) -> dict[str, str | None]:
        """The step that last saw each block, by label."""
        return {block["label"]: block["last_seen_step_id"] for block in await blocks(**params)}

    async def steps() -> list[str]:
        listed = await served.http.get("/v1/steps", params={"agent_id": agent["id"], "order": "asc"})
        return [step["id"] for step in listed.json()]

    assert await seen() == {"human": None, "persona": None}
    # The first step writes, and the one after it is shown what was written.
    await served.send(agent["id"], "my name is Ann")
    first = await steps()
    assert len(first) > 1
    assert await seen() == {"human": first[-1], "persona": first[-1]}
    await served.http.patch(f"{path}/core-memory/blocks/human", json={"value": "Name: Bea"})
    assert await seen() == {"human": None, "persona": first[-1]}
    await served.send(agent["id"], "echo hello")
    last = (await steps())[-1]
    assert await seen() == {"human": last, "persona": last}
    added = (await served.http.post("/v1/blocks/", json={"label": "added", "value": "new"})).json()
    await served.http.patch(f"{path}/core-memory/blocks/attach/{added['id']}")
    human, persona, new = await blocks()
    assert (human["last_seen_at"], persona["tokens"] > 0) == (persona["last_seen_at"], True)
    assert new == {"label": "added", "tokens": new["tokens"], "last_seen_at": None, "last_seen_step_id": None}
    # What another conversation was shown, this one was not.
    other = (await served.http.post("/v1/conversations/", params={"agent_id": agent["id"]}, json={})).json()
    assert await seen(conversation_id=other["id"]) == {"human": None, "persona": None, "added": None}
