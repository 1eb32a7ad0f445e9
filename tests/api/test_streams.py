"""Following runs: any run, from any frame on, any number of readers, during the run, after it and after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve

from letta.errors import ModelRateLimit
from letta.models.protocol import ModelRequest
from letta.models.scripted import Call, Think, Wait

REMEMBER = Call("memory_insert", {"label": "human", "new_string": "Likes tea."})
TURN = [[Think("Let me see."), "I will note that.", REMEMBER], "All of it is noted now."]
UNKNOWN = "run-00000000-0000-4000-8000-000000000000"


class Gate:
    """A model step that says when it was reached and waits to be let through."""

    def __init__(self, reply: Any = "through") -> None:
        self.reached, self.open, self._reply = asyncio.Event(), asyncio.Event(), reply

    async def __call__(self, request: ModelRequest) -> Any:
        self.reached.set()
        await self.open.wait()
        return self._reply


def frames(text: str) -> list[Any]:
    """The data of every frame but keep-alives; `[DONE]` as it is."""
    found = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    shown: list[Any] = [each if each == "[DONE]" else orjson.loads(each) for each in found]
    return [each for each in shown if each == "[DONE]" or each["message_type"] != "ping"]


def numbers(shown: list[Any]) -> list[Any]:
    return [each["seq_id"] for each in shown if "seq_id" in each]


async def streamed(served: Served, agent_id: str, **fields: Any) -> list[Any]:
    body = {"input": "I like tea.", "streaming": True, **fields}
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return frames(answer.text)


async def followed(served: Served, run_id: str, **fields: Any) -> list[Any]:
    answer = await served.http.post(f"/v1/runs/{run_id}/stream", json=fields)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return frames(answer.text)


async def an_agent(served: Served, **fields: Any) -> str:
    made: str = (await served.agent(memory_blocks=[{"label": "human", "value": ""}], **fields))["id"]
    return made


async def the_run(served: Served, agent_id: str) -> str:
    found: str = (await served.http.get("/v1/runs/", params={"agent_id": agent_id})).json()[0]["id"]
    return found


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", ["letta_v1_agent", "memgpt_v2_agent"])
async def test_stream_of_an_ended_run_is_what_its_sender_saw_even_after_a_restart(
    tmp_path: Path, tokens: bool, kind: str
) -> None:
    reply = Call("send_message", {"message": "All of it is noted now.", "thinking": "So."})
    script = TURN if kind == "letta_v1_agent" else [TURN[0], reply]
    async with serve(tmp_path, script) as served:
        agent_id = await an_agent(served, agent_type=kind)
        seen = await streamed(served, agent_id, background=True, stream_tokens=tokens)
        run_id = await the_run(served, agent_id)
        at_once = await followed(served, run_id)
    async with serve(tmp_path) as served:
        later = await followed(served, run_id)
        resumed = [await followed(served, run_id, starting_after=number) for number in range(len(seen) - 2)]
    assert seen[-1] == "[DONE]"
    assert [each["message_type"] for each in seen[-3:-1]] == ["stop_reason", "usage_statistics"]
    assert numbers(seen) == list(range(1, len(seen) - 2))
    assert at_once == later == seen
    assert resumed == [seen[number:] for number in range(len(seen) - 2)]


@pytest.mark.parametrize("tokens", [False, True])
async def test_foreground_run_can_be_followed_too_though_its_own_stream_has_no_numbers(
    tmp_path: Path, tokens: bool
) -> None:
    async with serve(tmp_path, TURN) as served:
        agent_id = await an_agent(served)
        seen = await streamed(served, agent_id, stream_tokens=tokens)
        shown = await followed(served, await the_run(served, agent_id))
    assert numbers(seen) == [None] * (len(seen) - 3)
    assert numbers(shown) == list(range(1, len(seen) - 2))
    assert [each if each == "[DONE]" else each | {"seq_id": None} for each in shown[:-3]] == seen[:-3]
    assert shown[-3:] == seen[-3:]


@pytest.mark.parametrize("tokens", [False, True])
async def test_stream_of_a_run_that_a_restart_interrupted_goes_on_where_it_was(tmp_path: Path, tokens: bool) -> None:
    async with serve(tmp_path, [TURN[0], ["It was", Wait(60)]], shutdown_grace=0.01) as served:
        agent_id = await an_agent(served)
        body = {"input": "I like tea.", "stream_tokens": tokens}
        run_id = (await served.http.post(f"/v1/agents/{agent_id}/messages/async", json=body)).json()["id"]
        watching = asyncio.create_task(followed(served, run_id))
        async with asyncio.timeout(10):
            while len(served.model.requests) < 2:  # noqa: ASYNC110 - the model says nothing when it is asked
                await asyncio.sleep(0)
    before = await watching
    async with serve(tmp_path, ["All is noted now."]) as served:
        last = before[-4]["seq_id"]
        after = await followed(served, run_id, starting_after=last)
        whole = await followed(served, run_id)
        stored = (await served.http.get(f"/v1/runs/{run_id}/messages")).json()
    assert before[-2]["error_type"] == "stream_incomplete"
    assert "".join(each["content"] for each in after if "content" in each) == "All is noted now."
    known = {message["id"] for message in stored}
    assert whole == [each for each in before[:-3] if each["id"] in known] + after
    assert numbers(whole) == sorted(set(numbers(whole)))


@pytest.mark.parametrize("tokens", [False, True])
async def test_many_readers_of_a_running_run_see_the_same(tmp_path: Path, tokens: bool) -> None:
    gate = Gate("All of it is noted now.")
    async with serve(tmp_path, [TURN[0], gate]) as served:
        agent_id = await an_agent(served)
        sending = asyncio.create_task(streamed(served, agent_id, background=True, stream_tokens=tokens))
        await gate.reached.wait()
        run_id = await the_run(served, agent_id)
        watching = [asyncio.create_task(followed(served, run_id, starting_after=number % 3)) for number in range(12)]
        await asyncio.sleep(0)
        gate.open.set()
        seen, *watched = await asyncio.gather(sending, *watching)
    assert watched == [seen[number % 3 :] for number in range(12)]


async def test_run_of_the_async_route_is_followed_as_it_was_asked_for(tmp_path: Path) -> None:
    async with serve(tmp_path, TURN) as served:
        agent_id = await an_agent(served)
        body = {"input": "I like tea.", "include_return_message_types": ["assistant_message"]}
        run = (await served.http.post(f"/v1/agents/{agent_id}/messages/async", json=body)).json()
        shown = await followed(served, run["id"])
    kinds = [each["message_type"] for each in shown[:-1]]
    assert kinds == ["assistant_message", "assistant_message", "stop_reason", "usage_statistics"]
    assert numbers(shown) == [1, 2]


@pytest.mark.parametrize("tokens", [False, True])
async def test_failed_run_ends_with_its_error_for_every_reader(tmp_path: Path, tokens: bool) -> None:
    async with serve(tmp_path, [TURN[0], ["Half an ans", ModelRateLimit("too much")]]) as served:
        agent_id = await an_agent(served)
        seen = await streamed(served, agent_id, background=True, stream_tokens=tokens)
        run_id = await the_run(served, agent_id)
        answer = await served.http.post(f"/v1/runs/{run_id}/stream")
    assert frames(answer.text) == seen
    assert seen[-2]["error_type"] == "llm_rate_limit"
    assert "event: error\ndata: " in answer.text


@pytest.mark.parametrize("tokens", [False, True])
async def test_cancelled_run_ends_for_every_reader_where_it_was_cancelled(tmp_path: Path, tokens: bool) -> None:
    async with serve(tmp_path, [TURN[0], ["Half an answer and then", Wait(30)]]) as served:
        agent_id = await an_agent(served)
        run = await served.http.post(
            f"/v1/agents/{agent_id}/messages/async", json={"input": "I like tea.", "stream_tokens": tokens}
        )
        run_id = run.json()["id"]
        watching = asyncio.create_task(followed(served, run_id))
        async with asyncio.timeout(5):
            while len((await served.http.get(f"/v1/runs/{run_id}/steps")).json()) < 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await served.http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})
        seen = await watching
        again = await followed(served, run_id)
    assert seen[-2:] == [{"message_type": "stop_reason", "stop_reason": "cancelled"}, "[DONE]"]
    assert again == seen


async def test_calls_closed_after_the_end_of_a_run_do_not_change_its_stream(tmp_path: Path) -> None:
    tool = {"name": "look", "description": "Looks", "parameters": {"type": "object", "properties": {}}}
    async with serve(tmp_path, [Call("look", {})]) as served:
        agent_id = await an_agent(served)
        seen = await streamed(served, agent_id, background=True, client_tools=[tool])
        run_id = await the_run(served, agent_id)
        await served.http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})
        said = (await served.http.get(f"/v1/runs/{run_id}/messages")).json()
        shown = await followed(served, run_id)
    assert said[-1]["message_type"] == "tool_return_message"
    assert seen[-3] == {"message_type": "stop_reason", "stop_reason": "requires_approval"}
    assert shown == seen


async def test_keep_alives_come_after_silence_and_say_which_frame_was_last(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [TURN[0], gate], ping_interval=0.01) as served:
        agent_id = await an_agent(served)
        run = await served.http.post(f"/v1/agents/{agent_id}/messages/async", json={"input": "I like tea."})
        run_id = run.json()["id"]
        await gate.reached.wait()
        parts = served.parts.following.parts(run_id, tokens=False, idle=0.01)
        assert [len(part.events) async for part in _first(parts, 3)] == [1, 0, 0]
        watching = asyncio.create_task(served.http.post(f"/v1/runs/{run_id}/stream"))
        quiet = asyncio.create_task(served.http.post(f"/v1/runs/{run_id}/stream", json={"include_pings": False}))
        await asyncio.sleep(0.1)
        gate.open.set()
        text, silent = (await watching).text, (await quiet).text
    pings = [orjson.loads(line[6:]) for line in text.split("\n") if '"ping"' in line]
    assert [ping["seq_id"] for ping in pings[:2]] == [None, 4]
    assert {ping["run_id"] for ping in pings} == {run_id}
    assert '"ping"' not in silent
    assert frames(silent) == frames(text)


async def _first(parts: Any, count: int) -> Any:
    async for part in parts:
        yield part
        count -= 1
        if not count:
            await parts.aclose()
            return


async def test_browser_comes_back_with_the_last_id_and_is_told_when_there_is_no_more(tmp_path: Path) -> None:
    async with serve(tmp_path, TURN) as served:
        agent_id = await an_agent(served)
        seen = await streamed(served, agent_id, background=True, stream_tokens=True)
        path = f"/v1/runs/{await the_run(served, agent_id)}/stream"
        whole = (await served.http.get(path)).text
        ids = [line[4:] for line in whole.split("\n") if line.startswith("id: ")]
        later = [frames((await served.http.get(path, headers={"Last-Event-ID": number})).text) for number in ids[:-1]]
        asked = frames((await served.http.get(path, params={"starting_after": 2})).text)
        over = await served.http.get(path, headers={"Last-Event-ID": ids[-1]})
        wrong = await served.http.get(path, headers={"Last-Event-ID": "x7"})
    assert frames(whole) == seen
    assert ids == [*(str(number) for number in range(1, len(seen))), "done"]
    assert later == [seen[number:] for number in range(1, len(seen))]
    assert asked == seen[2:]
    assert (over.status_code, over.content) == (204, b"")
    assert (wrong.status_code, "Last-Event-ID" in wrong.json()["detail"]) == (422, True)


async def test_stream_is_gone_when_it_was_kept_long_enough(tmp_path: Path) -> None:
    async with serve(tmp_path, TURN, stream_retention=1e-6) as served:
        agent_id = await an_agent(served)
        await streamed(served, agent_id)
        run_id = await the_run(served, agent_id)
        answers = [
            await served.http.post(f"/v1/runs/{run_id}/stream"),
            await served.http.get(f"/v1/runs/{run_id}/stream"),
        ]
    for answer in answers:
        assert (answer.status_code, f"GET /v1/runs/{run_id}/messages" in answer.json()["detail"]) == (410, True)


async def test_unknown_run_has_no_stream(served: Served) -> None:
    for verb in ("GET", "POST"):
        answer = await served.http.request(verb, f"/v1/runs/{UNKNOWN}/stream")
        assert (answer.status_code, answer.json()["detail"]) == (404, f"run {UNKNOWN} not found")


async def test_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    gate = Gate("still here")
    async with serve(tmp_path, [gate]) as served:
        agent_id = await an_agent(served)
        sending = asyncio.create_task(streamed(served, agent_id, background=True))
        await gate.reached.wait()
        sending.cancel()
        run_id = await the_run(served, agent_id)
        gate.open.set()
        shown = await followed(served, run_id)
    assert [each["content"] for each in shown[:-3]] == ["still here"]


async def test_conversation_is_followed_by_run_or_otid_or_what_is_going_on(tmp_path: Path) -> None:
    gate = Gate("I am here.")
    async with serve(tmp_path, ["An answer.", gate]) as served:
        agent_id = await an_agent(served)
        thread = (await served.http.post("/v1/conversations/", params={"agent_id": agent_id}, json={})).json()["id"]
        path = f"/v1/conversations/{thread}"

        async def follow(**wanted: Any) -> Any:
            return await served.http.post(f"{path}/stream", json={"include_pings": False, **wanted})

        idle = await follow()
        said = {"messages": [{"role": "user", "content": "one", "otid": "otid-one"}]}
        first = frames((await served.http.post(f"{path}/messages", json={**said, "background": True})).text)
        run_id = first[0]["run_id"]
        said = {"messages": [{"role": "user", "content": "two", "otid": "otid-two"}]}
        second = asyncio.create_task(served.http.post(f"{path}/messages", json={**said, "background": True}))
        await gate.reached.wait()
        # The second message is with its run only until its first step is stored.
        going = [asyncio.create_task(follow(**wanted)) for wanted in ({}, {"otid": "otid-two"})]
        ended = [frames((await follow(**wanted)).text) for wanted in ({"run_id": run_id}, {"otid": "otid-one"})]
        await asyncio.sleep(0.05)
        gate.open.set()
        seen = frames((await second).text)
        live = [frames((await task).text) for task in going]
        other = await served.http.post(f"/v1/conversations/{agent_id}/stream", json={"run_id": run_id})
        unknown = await follow(otid="otid-three")
        nothing = await served.http.post(f"{path}/stream")
    assert ended == [first, first]
    assert live == [seen, seen]
    assert [seen[0]["content"], first[0]["content"]] == ["I am here.", "An answer."]
    assert (idle.status_code, nothing.status_code) == (400, 400)
    assert "No active runs found" in idle.json()["detail"]
    assert (other.status_code, unknown.status_code) == (404, 404)
