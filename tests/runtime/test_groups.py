"""Groups that talk: who speaks when, who hears what, how a turn ends."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
from tests.runtime.test_runner import Gate, until
from tests.serving import Served, serve

from letta.models.protocol import ModelRequest
from letta.models.scripted import Call
from letta.schemas.sends import SendRequest
from letta.store import group_talk

ASK_ALL = "send_message_to_all_agents_in_group"


async def agents(served: Served, *names: str, **fields: Any) -> list[str]:
    return [(await served.agent(name=name, **fields))["id"] for name in names]


async def group(served: Served, agent_ids: list[str], **config: Any) -> str:
    body: dict[str, Any] = {"agent_ids": agent_ids, "description": "the team"}
    if config:
        body["manager_config"] = config
    answer = await served.http.post("/v1/groups/", json=body)
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["id"]
    return made


async def tell(served: Served, group_id: str, text: str, **fields: Any) -> Any:
    return await served.http.post(f"/v1/groups/{group_id}/messages", json={"input": text, **fields})


def said(answer: Any) -> list[tuple[str, str]]:
    """Who said what, replies only."""
    assert answer.status_code == 200, answer.text
    return [(m["name"], m["content"]) for m in answer.json()["messages"] if m["message_type"] == "assistant_message"]


def heard(request: ModelRequest) -> list[str]:
    """What the model was told since it last spoke."""
    fresh: list[str] = []
    for message in request.messages:
        fresh = [] if message.role == "assistant" else [*fresh, message.text]
    return fresh


def frames(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else orjson.loads(line) for line in lines]


async def test_agents_of_a_round_speak_in_order_and_hear_each_other(tmp_path: Path) -> None:
    async with serve(tmp_path, ["I am for it.", "I am against it.", "Still for it.", "Still against it."]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        first, second = await tell(served, team, "Shall we?"), await tell(served, team, "And now?")
    told = [heard(request) for request in served.model.requests]
    by_ann, by_ben = (
        f"[Message from agent {name!r} ({id_}) to the group.]" for name, id_ in (("ann", ann), ("ben", ben))
    )
    assert said(first) == [("ann", "I am for it."), ("ben", "I am against it.")]
    assert said(second) == [("ann", "Still for it."), ("ben", "Still against it.")]
    assert told == [
        ["Shall we?"],
        ["Shall we?", f"{by_ann}\nI am for it."],
        [f"{by_ben}\nI am against it.", "And now?"],
        ["And now?", f"{by_ann}\nStill for it."],
    ]


async def test_answer_of_a_group_carries_speakers_runs_and_the_usage_of_all(tmp_path: Path) -> None:
    async with serve(tmp_path, ["one", "two"]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        answer = (await tell(served, team, "Count!")).json()
        runs = [(await served.http.get(f"/v1/runs/{run_id}")).json() for run_id in answer["usage"]["run_ids"]]
        spent = [(await served.http.get(f"/v1/runs/{run['id']}/usage")).json()["total_tokens"] for run in runs]
    assert [(m["sender_id"], m["run_id"]) for m in answer["messages"]] == [(ann, runs[0]["id"]), (ben, runs[1]["id"])]
    assert [run["agent_id"] for run in runs] == [ann, ben]
    assert (answer["usage"]["step_count"], answer["usage"]["total_tokens"]) == (2, sum(spent))
    assert answer["stop_reason"]["stop_reason"] == "end_turn"


async def test_rounds_end_after_max_turns_or_with_the_last_word(tmp_path: Path) -> None:
    async with serve(tmp_path, ["a", "b", "c", "d", "All agreed, OVER."]) as served:
        ann, ben = await agents(served, "ann", "ben")
        three = await group(served, [ann, ben], manager_type="round_robin", max_turns=3)
        word = await group(served, [ann, ben], manager_type="round_robin", max_turns=9, termination_token="OVER")
        counted, ended = await tell(served, three, "Go"), await tell(served, word, "Go")
    assert [name for name, _ in said(counted)] == ["ann", "ben", "ann"]
    assert said(ended) == [("ann", "d"), ("ben", "All agreed, OVER.")]


async def test_stream_of_a_group_holds_the_frames_of_every_run_and_one_end(tmp_path: Path) -> None:
    async with serve(tmp_path, ["one two", "three"]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        body = {"input": "Go", "stream_tokens": True}
        answer = await served.http.post(f"/v1/groups/{team}/messages/stream", json=body)
    ping, *pieces, stop, usage, done = frames(answer.text)
    assert (ping["message_type"], ping["run_id"], done) == ("ping", None, "[DONE]")
    assert [(piece["name"], piece["content"]) for piece in pieces] == [
        ("ann", "one "),
        ("ann", "two"),
        ("ben", "three"),
    ]
    assert stop == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert usage["run_ids"] == list(dict.fromkeys(piece["run_id"] for piece in pieces))


async def test_supervising_agent_asks_all_others_with_its_tool(tmp_path: Path) -> None:
    script = [Call(ASK_ALL, {"message": "Your opinion?"}), "yes", "yes", "They agree."]
    async with serve(tmp_path, script) as served:
        boss, ann, ben = await agents(served, "boss", "ann", "ben")
        team = await group(served, [ann, ben], manager_type="supervisor", manager_agent_id=boss)
        answer = await tell(served, team, "Ask them")
        listed = (await served.http.get(f"/v1/groups/{team}/messages")).json()
    messages = answer.json()["messages"]
    replies = next(m for m in messages if m["message_type"] == "tool_return_message")
    assert [m["message_type"] for m in messages] == [
        "tool_call_message", "assistant_message", "assistant_message", "tool_return_message", "assistant_message",
    ]  # fmt: skip
    assert orjson.loads(replies["tool_return"]) == [{"agent": "ann", "reply": "yes"}, {"agent": "ben", "reply": "yes"}]
    assert sorted(said(answer)[:2]) == [("ann", "yes"), ("ben", "yes")]
    assert said(answer)[2] == ("boss", "They agree.")
    assert len(answer.json()["usage"]["run_ids"]) == 3
    assert sorted(m["id"] for m in listed if m["message_type"] != "user_message") == sorted(m["id"] for m in messages)


async def test_tool_of_a_supervising_agent_goes_with_the_last_group(served: Served) -> None:
    boss, ann = await agents(served, "boss", "ann")
    team = await group(served, [ann], manager_type="supervisor", manager_agent_id=boss)
    during = (await served.http.get(f"/v1/agents/{boss}")).json()["tools"]
    await served.http.patch(f"/v1/groups/{team}", json={"manager_config": {"manager_type": "round_robin"}})
    after = (await served.http.get(f"/v1/agents/{boss}")).json()["tools"]
    assert {tool["name"] for tool in during} - {tool["name"] for tool in after} == {ASK_ALL}


async def test_leading_agent_names_the_next_speaker_until_it_is_done(tmp_path: Path) -> None:
    script = ['{"next_speaker": "ben"}', "I am ben.", "Let ann speak now", "I am ann.", '{"next_speaker": "DONE!"}']
    async with serve(tmp_path, script) as served:
        boss, ann, ben = await agents(served, "boss", "ann", "ben")
        team = await group(served, [ann, ben], manager_type="dynamic", manager_agent_id=boss, max_turns=5)
        answer = await tell(served, team, "Introduce yourselves")
    shape = served.model.requests[0].parameters.response_format
    assert [reply for reply in said(answer) if reply[0] != "boss"] == [("ben", "I am ben."), ("ann", "I am ann.")]
    assert shape is not None
    assert shape["json_schema"]["schema"]["properties"]["next_speaker"]["enum"] == ["ann", "ben", "DONE!"]
    assert "I am ben." in heard(served.model.requests[3])[1]
    assert [line.splitlines()[-1] for line in heard(served.model.requests[4])[:1]] == ["I am ann."]


async def test_agent_that_is_named_again_and_again_speaks_each_time(tmp_path: Path) -> None:
    named = '{"next_speaker": "ann"}'
    async with serve(tmp_path, [named, "One.", named, "Two.", named, "Three."]) as served:
        boss, ann, ben = await agents(served, "boss", "ann", "ben")
        team = await group(served, [ann, ben], manager_type="dynamic", manager_agent_id=boss, max_turns=3)
        answer = await tell(served, team, "Count, ann")
    again = "[You have the floor again. Nobody else has spoken since.]"
    assert [reply for reply in said(answer) if reply[0] != "boss"] == [
        ("ann", "One."),
        ("ann", "Two."),
        ("ann", "Three."),
    ]
    assert [heard(request) for request in list(served.model.requests)[1::2]] == [["Count, ann"], [again], [again]]


async def test_leading_agent_that_names_nobody_twice_is_an_error(tmp_path: Path) -> None:
    async with serve(tmp_path, ["Hmm.", "Well."]) as served:
        boss, ann = await agents(served, "boss", "ann")
        team = await group(served, [ann], manager_type="dynamic", manager_agent_id=boss)
        answer = await tell(served, team, "Go")
    assert answer.status_code == 502
    assert "named no agent" in answer.text
    assert heard(served.model.requests[1]) == ["That names none of the agents. Answer with one of: ann, DONE!"]


async def test_reply_tool_of_older_agents_carries_the_choice(tmp_path: Path) -> None:
    script: list[Any] = [Call("send_message", {"message": {"next_speaker": "ann"}}), "Here."]
    async with serve(tmp_path, script) as served:
        [boss] = await agents(served, "boss", agent_type="memgpt_agent")
        [ann] = await agents(served, "ann")
        team = await group(served, [ann], manager_type="dynamic", manager_agent_id=boss, max_turns=1)
        answer = await tell(served, team, "Go")
    assert said(answer)[-1] == ("ann", "Here.")


async def test_cancelled_group_stops_the_speaker_and_lets_nobody_else_speak(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        sending = asyncio.create_task(tell(served, team, "Go"))
        await gate.reached.wait()
        waiting = await served.parts.groups.start(team, SendRequest(input="And then"))
        cancelled = (await served.http.post(f"/v1/groups/{team}/messages/cancel")).json()
        answer, waited = (await sending).json(), await waiting.log.wait()
        nothing = await served.http.post(f"/v1/groups/{team}/messages/cancel")
    assert (answer["stop_reason"]["stop_reason"], waited.stop_reason) == ("cancelled", "cancelled")
    assert cancelled == {answer["usage"]["run_ids"][0]: "cancelled"}
    assert len(served.model.requests) == 1
    assert nothing.status_code == 409


async def test_cancelled_group_stops_those_who_are_being_asked(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [Call(ASK_ALL, {"message": "Well?"}), gate]) as served:
        boss, ann = await agents(served, "boss", "ann")
        team = await group(served, [ann], manager_type="supervisor", manager_agent_id=boss)
        sending = asyncio.create_task(tell(served, team, "Go"))
        await gate.reached.wait()
        async with asyncio.timeout(10):
            cancelled = (await served.http.post(f"/v1/groups/{team}/messages/cancel")).json()
            answer = (await sending).json()
    assert list(cancelled.values()) == ["cancelled", "cancelled"]
    assert sorted(cancelled) == sorted(answer["usage"]["run_ids"])
    assert answer["stop_reason"]["stop_reason"] == "cancelled"


async def test_group_has_one_turn_at_a_time(tmp_path: Path) -> None:
    gate = Gate("first")
    async with serve(tmp_path, [gate, "second", "third", "fourth"]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        one = asyncio.create_task(tell(served, team, "One"))
        await gate.reached.wait()
        two = asyncio.create_task(tell(served, team, "Two"))
        busy = await served.http.patch(f"/v1/groups/{team}/reset-messages")
        gate.open.set()
        answers = [await one, await two]
    assert busy.status_code == 409
    assert [said(answer) for answer in answers] == [
        [("ann", "first"), ("ben", "second")],
        [("ann", "third"), ("ben", "fourth")],
    ]


async def test_member_deleted_in_its_turn_is_an_error_that_names_it(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        sending = asyncio.create_task(tell(served, team, "Go"))
        await gate.reached.wait()
        await served.http.delete(f"/v1/agents/{ann}")
        answer = await sending
        left = (await served.http.get(f"/v1/groups/{team}")).json()["agent_ids"]
    assert (answer.status_code, f"agent 'ann' ({ann}) was deleted" in answer.text) == (409, True)
    assert left == [ben]


async def test_member_deleted_before_it_could_speak_is_an_error_that_names_it(tmp_path: Path) -> None:
    gate = Gate("one")
    async with serve(tmp_path, [gate]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        sending = asyncio.create_task(tell(served, team, "Go"))
        await gate.reached.wait()
        await served.http.delete(f"/v1/agents/{ben}")
        gate.open.set()
        answer = await sending
    assert (answer.status_code, f"agent 'ben' ({ben}) was deleted" in answer.text) == (409, True)


async def test_group_without_anybody_who_could_answer_says_what_to_do(served: Served) -> None:
    boss, ann = await agents(served, "boss", "ann")
    led = await group(served, [ann], manager_type="supervisor", manager_agent_id=boss)
    empty = await group(served, [])
    await served.http.delete(f"/v1/agents/{boss}")
    answers = [await tell(served, led, "Go"), await tell(served, empty, "Go")]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert "manager_config.manager_agent_id" in answers[0].text
    assert "agent_ids" in answers[1].text


async def test_failure_of_a_speaker_ends_the_turn_with_its_error(served: Served) -> None:
    ann, ben = await agents(served, "ann", "ben")
    team = await group(served, [ann, ben])
    answer = await tell(served, team, "!error rate_limit")
    stream = await served.http.post(f"/v1/groups/{team}/messages/stream", json={"input": "!error rate_limit"})
    assert answer.status_code == 429
    assert "event: error" in stream.text
    assert [frame for frame in frames(stream.text) if frame != "[DONE]"][-2]["stop_reason"] == "llm_api_error"


async def test_turn_goes_on_when_its_client_leaves(tmp_path: Path) -> None:
    gate = Gate("one")
    async with serve(tmp_path, [gate, "two"]) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        sending = asyncio.create_task(tell(served, team, "Go"))
        await gate.reached.wait()
        sending.cancel()
        gate.open.set()

        async def both_spoke() -> bool:
            listed = (await served.http.get(f"/v1/groups/{team}/messages")).json()
            return [m["content"] for m in listed] == ["Go", "one", "two"]

        await until(both_spoke)


async def test_group_goes_on_after_a_turn_was_lost_and_nobody_hears_anything_twice(tmp_path: Path) -> None:
    gate = Gate("I am for it.")
    async with serve(tmp_path, [gate], shutdown_grace=0.01) as served:
        ann, ben = await agents(served, "ann", "ben")
        team = await group(served, [ann, ben])
        lost = asyncio.create_task(tell(served, team, "Shall we?"))
        await gate.reached.wait()
    await asyncio.gather(lost, return_exceptions=True)
    async with serve(tmp_path, ["I am for it.", "Still for it.", "I am not."]) as served:

        async def ended() -> bool:
            runs = (await served.http.get("/v1/runs/", params={"agent_id": ann})).json()
            return [run["status"] for run in runs] == ["completed"]

        async def told() -> bool:
            return len(await served.parts.database.read(group_talk.unheard, team, ben)) == 2

        await until(ended)
        await until(told)
        answer = await tell(served, team, "And now?")
    by_ann = f"[Message from agent 'ann' ({ann}) to the group.]"
    assert said(answer) == [("ann", "Still for it."), ("ben", "I am not.")]
    assert [heard(request) for request in served.model.requests] == [
        ["Shall we?"],
        ["And now?"],
        ["Shall we?", f"{by_ann}\nI am for it.", "And now?", f"{by_ann}\nStill for it."],
    ]


async def test_sleep_time_group_answers_like_its_main_agent_and_hands_over(tmp_path: Path) -> None:
    async with serve(tmp_path, ["Hello.", "Noted."]) as served:
        main, other = await agents(served, "main", "other")
        config = {"manager_type": "sleeptime", "manager_agent_id": main, "sleeptime_agent_frequency": 1}
        team = await group(served, [other], **config)
        answer = await tell(served, team, "Hi")

        async def thought() -> bool:
            found = (await served.http.get("/v1/runs/", params={"agent_id": other})).json()
            return [run["status"] for run in found] == ["completed"]

        await until(thought)
    assert said(answer) == [("main", "Hello.")]
    assert "user:\nHi" in heard(served.model.requests[1])[0]
