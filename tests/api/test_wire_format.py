"""What clients rely on beyond fields and types: paths, headers, ids, times, frames, defaults and error bodies."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.serving import Served, serve

UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
MESSAGE_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
COMMON = {"id", "date", "name", "message_type", "otid", "sender_id", "step_id", "is_err", "seq_id", "run_id"}
EXTRA = {
    "system_message": {"content"},
    "user_message": {"content"},
    "assistant_message": {"content"},
    "reasoning_message": {"reasoning", "source", "signature"},
    "tool_call_message": {"tool_call", "tool_calls"},
    "tool_return_message": {
        "tool_return", "status", "tool_call_id", "stdout", "stderr", "tool_returns",
    },
    "ping": set(),
}  # fmt: skip
SCRIPT = json.dumps(
    [[{"think": "hm"}, {"call": "memory_insert", "args": {"label": "human", "new_string": "x"}}], "done"]
)


async def agent_of(served: Served, **fields: Any) -> str:
    made = await served.agent(memory_blocks=[{"label": "human", "value": ""}], **fields)
    return str(made["id"])


async def stream_of(served: Served, agent_id: str, text: str, **fields: Any) -> str:
    body = {"input": text, "streaming": True, **fields}
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return answer.text


def frames_of(text: str) -> list[dict[str, Any]]:
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in data]


# -- transport, headers, auth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/agents/", "/latest/agents", "/latest/agents/"])
async def test_collections_answer_directly_in_every_form_of_their_path(served: Served, path: str) -> None:
    made = await served.http.post(path, json={"model": "letta/scripted"})
    assert (made.status_code, made.history) == (200, [])
    assert [agent["id"] for agent in (await served.http.get(path)).json()] == [made.json()["id"]]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "secret"}, 401),
        ({"Authorization": "Bearer secret"}, 200),
        ({"X-BARE-PASSWORD": "password secret"}, 200),
    ],
)
async def test_password_is_asked_for_everywhere_but_at_the_door(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with serve(tmp_path, server_password="secret") as served:
        answer = await served.http.get("/v1/agents/", headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert answer.json() == {"detail": "Unauthorized"}
        for path in ("/v1/health", "/v1/health/", "/v1/ready"):
            assert (await served.http.get(path)).status_code == 200


@pytest.mark.parametrize("value", ["Bearer ", "Bearer", "", "Bearer any"])
async def test_server_without_a_password_accepts_any_authorization(served: Served, value: str) -> None:
    assert (await served.http.get("/v1/agents/", headers={"Authorization": value})).status_code == 200


async def test_repeated_query_names_are_a_list_and_unknown_body_fields_are_ignored(served: Served) -> None:
    await agent_of(served, tags=["a", "b"], no_such_field=1)
    await agent_of(served, tags=["b"])
    assert len((await served.http.get("/v1/agents/?tags=a&tags=b&match_all_tags=true")).json()) == 1
    assert len((await served.http.get("/v1/agents/?tags=a&tags=b&match_all_tags=false")).json()) == 2


async def test_browsers_of_allowed_origins_may_call(served: Served) -> None:
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = await served.http.options("/v1/agents/", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["access-control-allow-credentials"] == "true"
    refused = await served.http.options("/v1/agents/", headers={**asked, "Origin": "http://elsewhere.test"})
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("agent", ["curl/8.5.0", "python-httpx/0.28", "letta-client/0.1.324", "Letta/Python 1.12.1"])
async def test_clients_of_every_age_get_relations_and_streams(served: Served, agent: str) -> None:
    agent_id = await agent_of(served, tags=["x"])
    state = (await served.http.get(f"/v1/agents/{agent_id}", headers={"User-Agent": agent})).json()
    assert (state["tags"], len(state["blocks"]), state["memory"]["blocks"]) == (["x"], 1, state["blocks"])
    body = {"input": "hello", "streaming": True}
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json=body, headers={"User-Agent": agent})
    assert answer.headers["content-type"].startswith("text/event-stream")


# -- ids, times, handles -----------------------------------------------------------------------------------------------


async def test_ids_carry_their_prefix_and_times_their_zone(served: Served) -> None:
    agent_id = await agent_of(served)
    answer = await served.send(agent_id, "my name is Ada")
    run_id, step_id = answer["usage"]["run_ids"][0], answer["messages"][0]["step_id"]
    who = {"identifier_key": "k", "name": "Ada", "identity_type": "user"}
    identity = (await served.http.post("/v1/identities/", json=who)).json()["id"]
    state = (await served.http.get(f"/v1/agents/{agent_id}")).json()
    run = (await served.http.get(f"/v1/runs/{run_id}")).json()
    for value, prefix in [
        (agent_id, "agent"),
        (state["blocks"][0]["id"], "block"),
        (state["tools"][0]["id"], "tool"),
        (identity, "identity"),
        (run_id, "run"),
        (step_id, "step"),
        *((message["id"], "message") for message in answer["messages"]),
    ]:
        assert re.fullmatch(f"{prefix}-{UUID4}", value), value
    for value in (state["created_at"], state["updated_at"], run["created_at"], run["completed_at"]):
        assert re.fullmatch(MOMENT, value), value
    for message in answer["messages"]:
        assert re.fullmatch(MESSAGE_DATE, message["date"]), message["date"]


async def test_otid_of_a_generated_message_is_its_uuid_with_the_part_counted_in_the_last_seven_bits(
    served: Served,
) -> None:
    agent_id = await agent_of(served)
    messages = (await served.send(agent_id, f"!script {SCRIPT}"))["messages"]
    parts = [message for message in messages if message["id"] == messages[0]["id"]]
    assert [part["message_type"] for part in parts] == ["reasoning_message", "tool_call_message"]
    base = int(messages[0]["id"].removeprefix("message-").replace("-", ""), 16) & ~0x7F
    assert [int(part["otid"].replace("-", ""), 16) for part in parts] == [base, base + 1]
    shown = (await served.http.get(f"/v1/messages/{messages[0]['id']}")).json()
    assert shown == parts


async def test_user_message_keeps_its_clients_otid_or_gets_one(served: Served) -> None:
    agent_id, otid = await agent_of(served), str(uuid4())
    for more in ({"otid": otid}, {}):
        body = {"messages": [{"role": "user", "content": "hello", **more}]}
        assert (await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)).status_code == 200
    listed = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    first, second = (message["otid"] for message in listed if message["message_type"] == "user_message")
    assert first == otid
    assert re.fullmatch(UUID4, second)


async def test_agent_has_its_model_as_a_handle_and_in_the_long_form(served: Served) -> None:
    made = await served.agent(model="openai/gpt-4o-mini", embedding="openai/text-embedding-3-small")
    assert (made["model"], made["embedding"]) == ("openai/gpt-4o-mini", "openai/text-embedding-3-small")
    assert made["llm_config"]["model"] == "gpt-4o-mini"
    assert {"context_window", "model", "model_endpoint_type"} <= made["llm_config"].keys()
    assert made["embedding_config"]["embedding_model"] == "text-embedding-3-small"


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_every_kind_of_message_has_all_its_keys(served: Served) -> None:
    agent_id = await agent_of(served)
    streamed = frames_of(await stream_of(served, agent_id, f"!script {SCRIPT}"))
    listed = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    seen = [frame for frame in streamed if frame["message_type"] in EXTRA] + listed
    assert {message["message_type"] for message in seen} == EXTRA.keys()
    for message in seen:
        assert message.keys() == COMMON | EXTRA[message["message_type"]], message


async def test_answer_holds_what_the_agent_said_and_not_what_was_said_to_it(served: Served) -> None:
    agent_id = await agent_of(served)
    answer = await served.send(agent_id, "my name is Ada")
    assert answer.keys() == {"messages", "stop_reason", "usage", "logprobs", "turns"}
    assert (answer["logprobs"], answer["turns"]) == (None, None)
    assert answer["stop_reason"] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert answer["usage"].keys() == {
        "message_type", "prompt_tokens", "completion_tokens", "total_tokens", "step_count", "run_ids",
        "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "context_tokens",
    }  # fmt: skip
    assert "user_message" not in {message["message_type"] for message in answer["messages"]}


@pytest.mark.parametrize(
    "body",
    [
        {"input": "echo hi"},
        {"input": [{"type": "text", "text": "echo hi"}]},
        {"messages": [{"role": "user", "content": "echo hi"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "echo hi"}]}]},
        {"messages": [{"type": "message", "role": "user", "content": "echo hi"}]},
        {"messages": [{"role": "user", "text": "echo hi"}]},
    ],
)
async def test_message_is_understood_in_every_form_clients_send_it_in(served: Served, body: dict[str, Any]) -> None:
    answer = await served.http.post(f"/v1/agents/{await agent_of(served)}/messages", json=body)
    assert answer.json()["messages"][-1]["content"] == "hi"


async def test_early_2025_names_of_fields_are_understood(served: Served) -> None:
    body = {"llm": "openai/gpt-4", "embedding": "openai/text-embedding-ada-002", "name": "old"}
    made = (await served.http.post("/v1/agents/", json=body)).json()
    assert (made["model"], made["embedding"]) == ("openai/gpt-4", "openai/text-embedding-ada-002")
    changed = (await served.http.patch(f"/v1/agents/{made['id']}", json={"llm": "openai/gpt-4o"})).json()
    assert changed["model"] == "openai/gpt-4o"
    memory = (await served.http.get(f"/v1/agents/{made['id']}/core-memory")).json()
    assert memory["blocks"] == changed["blocks"]


async def test_steps_end_a_run_at_the_number_asked_for(served: Served) -> None:
    agent_id = await agent_of(served)
    answer = await served.send(agent_id, f"!script {SCRIPT}", max_steps=1)
    assert answer["stop_reason"]["stop_reason"] == "max_steps"
    assert answer["usage"]["step_count"] == 1
    run = (await served.http.get(f"/v1/runs/{answer['usage']['run_ids'][0]}")).json()
    assert (run["status"], run["stop_reason"]) == ("completed", "max_steps")


async def test_overrides_hold_for_one_request_only(served: Served) -> None:
    agent_id = await agent_of(served, model="openai/gpt-4o-mini")
    await served.send(agent_id, "hello", override_model="openai/gpt-4o", override_system="Only now.")
    await served.send(agent_id, "hello")
    first, second = list(served.model.requests)[-2:]
    assert ("Only now." in first.system, "Only now." in second.system) == (True, False)
    state = (await served.http.get(f"/v1/agents/{agent_id}")).json()
    assert state["model"] == "openai/gpt-4o-mini"
    steps = (await served.http.get(f"/v1/steps/?agent_id={agent_id}&order=asc")).json()
    assert [step["model"] for step in steps] == ["gpt-4o", "gpt-4o-mini"]


async def test_reply_of_a_heartbeat_agent_is_an_assistant_message_unless_the_call_is_wanted(served: Served) -> None:
    agent_id = await agent_of(served, agent_type="memgpt_agent")
    kinds = [
        [message["message_type"] for message in (await served.send(agent_id, "echo hi", **how))["messages"]]
        for how in ({}, {"use_assistant_message": False})
    ]
    assert kinds == [
        ["reasoning_message", "assistant_message"],
        ["reasoning_message", "tool_call_message", "tool_return_message"],
    ]


# -- streaming ---------------------------------------------------------------------------------------------------------


async def test_stream_is_unnamed_data_lines_that_end_with_done(served: Served) -> None:
    agent_id = await agent_of(served)
    text = await stream_of(served, agent_id, "my name is Ada", stream_tokens=True)
    assert re.fullmatch(r"(data: [^\n]+\n\n)+", text)
    assert text.endswith("data: [DONE]\n\n")
    frames = frames_of(text)
    assert frames[0]["message_type"] == "ping"
    assert frames[0]["id"].startswith("ping-")
    assert frames[0]["run_id"] == frames[-1]["run_ids"][0]
    assert [frame["message_type"] for frame in frames[-2:]] == ["stop_reason", "usage_statistics"]
    assert {frame.get("seq_id") for frame in frames} == {None}


async def test_streamed_call_comes_in_deltas_and_its_return_whole(served: Served) -> None:
    frames = frames_of(await stream_of(served, await agent_of(served), "my name is Ada", stream_tokens=True))
    deltas = [frame for frame in frames if frame["message_type"] == "tool_call_message"]
    assert all(isinstance(delta["tool_calls"], dict) and delta["tool_call"] == delta["tool_calls"] for delta in deltas)
    assert json.loads("".join(delta["tool_call"]["arguments"] or "" for delta in deltas))
    [returned] = [frame for frame in frames if frame["message_type"] == "tool_return_message"]
    assert returned["tool_returns"][0]["tool_return"] == returned["tool_return"]


async def test_whole_messages_of_a_stream_are_those_of_the_json_answer(served: Served) -> None:
    agent_id = await agent_of(served)
    frames = frames_of(await stream_of(served, agent_id, f"!script {SCRIPT}", include_pings=False))
    listed = (await served.http.get(f"/v1/agents/{agent_id}/messages?order=asc")).json()
    assert frames[:-2] == [one for one in listed if one["message_type"] not in ("system_message", "user_message")]


@pytest.mark.parametrize(
    ("word", "kind", "stop"),
    [
        ("auth", "llm_authentication", "llm_api_error"),
        ("rate_limit", "llm_rate_limit", "llm_api_error"),
        ("timeout", "llm_timeout", "llm_api_error"),
        ("server", "llm_error", "llm_api_error"),
        ("bad_request", "llm_error", "llm_api_error"),
        ("empty", "llm_empty_response", "invalid_llm_response"),
    ],
)
async def test_error_in_a_stream_comes_after_the_stop_reason_and_is_the_only_named_frame(
    served: Served, word: str, kind: str, stop: str
) -> None:
    agent_id = await agent_of(served)
    text = await stream_of(served, agent_id, f"!error {word}", include_pings=False)
    stopped, failed, done = text.removesuffix("\n\n").split("\n\n")
    assert json.loads(stopped.removeprefix("data: ")) == {"message_type": "stop_reason", "stop_reason": stop}
    event, data = failed.split("\n")
    assert event == "event: error"
    body = json.loads(data.removeprefix("data: "))
    assert body.keys() == {"message_type", "run_id", "error_type", "message", "detail", "seq_id"}
    assert (body["message_type"], body["error_type"], body["seq_id"]) == ("error_message", kind, None)
    assert done == "data: [DONE]"
    run = (await served.http.get(f"/v1/runs/{body['run_id']}")).json()
    assert (run["status"], run["stop_reason"]) == ("failed", stop)


@pytest.mark.parametrize(
    ("word", "status", "kind"),
    [
        ("credits", 402, "llm_insufficient_credits"),
        ("auth", 401, "llm_authentication"),
        ("rate_limit", 429, "llm_rate_limit"),
        ("timeout", 504, "llm_timeout"),
        ("bad_request", 400, "llm_bad_request"),
    ],
)
async def test_error_of_a_provider_has_its_status_and_type(served: Served, word: str, status: int, kind: str) -> None:
    body = {"input": f"!error {word}"}
    answer = await served.http.post(f"/v1/agents/{await agent_of(served)}/messages", json=body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"type", "message", "detail"}
    assert answer.json()["error"]["type"] == kind


# -- runs --------------------------------------------------------------------------------------------------------------


async def test_run_tells_what_was_asked_and_how_long_it_took(served: Served) -> None:
    agent_id = await agent_of(served)
    answer = await served.send(agent_id, "hello", include_return_message_types=["assistant_message"])
    run = (await served.http.get(f"/v1/runs/{answer['usage']['run_ids'][0]}")).json()
    assert run["request_config"] == {
        "use_assistant_message": True,
        "assistant_message_tool_name": "send_message",
        "assistant_message_tool_kwarg": "message",
        "include_return_message_types": ["assistant_message"],
    }
    assert (run["agent_id"], run["status"], run["background"]) == (agent_id, "completed", False)
    assert run["metadata"]["run_type"]
    assert datetime.fromisoformat(run["completed_at"]) >= datetime.fromisoformat(run["created_at"])
    assert run["total_duration_ns"] >= run["ttft_ns"] > 0
    usage = (await served.http.get(f"/v1/runs/{run['id']}/usage")).json()
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= usage.keys()


async def test_nothing_to_cancel_is_a_conflict_that_is_not_to_be_retried(served: Served) -> None:
    answer = await served.http.post(f"/v1/agents/{await agent_of(served)}/messages/cancel")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")


# -- lists -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "default"), [("agents", 50), ("blocks", 50), ("tools", 50), ("runs", 100), ("steps", 50)]
)
async def test_lists_have_a_default_limit(served: Served, path: str, default: int) -> None:
    described = (await served.http.get("/openapi.json")).json()["paths"][f"/v1/{path}"]["get"]["parameters"]
    [limit] = [parameter for parameter in described if parameter["name"] == "limit"]
    assert limit["schema"]["default"] == default


async def test_lists_are_newest_first_except_those_that_are_not(served: Served) -> None:
    agents = [await agent_of(served, name=str(number)) for number in range(3)]
    listed = [agent["id"] for agent in (await served.http.get("/v1/agents/")).json()]
    assert listed == agents[::-1]
    blocks = [
        (await served.http.post("/v1/blocks/", json={"label": "ordered", "value": str(number)})).json()["id"]
        for number in range(3)
    ]
    found = [block["id"] for block in (await served.http.get("/v1/blocks/?label=ordered")).json()]
    assert found == blocks
    older = [agent["id"] for agent in (await served.http.get("/v1/agents/?ascending=true")).json()]
    assert older == agents


async def test_limit_counts_stored_messages(served: Served) -> None:
    agent_id = await agent_of(served)
    await served.send(agent_id, f"!script {SCRIPT}")
    page = (await served.http.get(f"/v1/agents/{agent_id}/messages?limit=3")).json()
    assert len({message["id"] for message in page}) == 3
    assert len(page) == 4


# -- errors and other shapes -------------------------------------------------------------------------------------------


async def test_error_bodies_have_the_form_of_their_status(served: Served) -> None:
    agent_id = await agent_of(served)
    bad = await served.http.post("/v1/agents/", json={"model": "/nothing"})
    assert (bad.status_code, bad.json()["detail"].startswith("INVALID_ARGUMENT: ")) == (400, True)
    invalid = await served.http.patch(f"/v1/agents/{agent_id}", json={"max_files_open": "many", "tags": 1})
    assert invalid.json().keys() == {"trace_id", "detail"}
    assert (invalid.status_code, invalid.json()["trace_id"]) == (422, "")
    assert all(f"{name}: " in invalid.json()["detail"] for name in ("max_files_open", "tags"))
    wrong_method = await served.http.delete("/v1/agents/")
    assert (wrong_method.status_code, wrong_method.json()) == (405, {"detail": "Method Not Allowed"})


async def test_messages_cannot_be_edited(served: Served) -> None:
    agent_id = await agent_of(served)
    said = (await served.send(agent_id, "hello"))["messages"][0]["id"]
    answer = await served.http.patch(f"/v1/agents/{agent_id}/messages/{said}", json={"content": "other"})
    assert answer.status_code == 405
    assert "cannot be changed" in answer.json()["detail"]


async def test_deletes_and_attachments_answer_as_v1_does(served: Served) -> None:
    agent_id = await agent_of(served)
    block = (await served.http.post("/v1/blocks/", json={"label": "b", "value": ""})).json()["id"]
    who = {"identifier_key": "k", "name": "Ada", "identity_type": "user"}
    identity = (await served.http.post("/v1/identities/", json=who)).json()["id"]
    attached = await served.http.patch(f"/v1/agents/{agent_id}/core-memory/blocks/attach/{block}")
    assert attached.json()["id"] == agent_id
    assert (await served.http.patch(f"/v1/agents/{agent_id}/identities/attach/{identity}")).json() is None
    assert (await served.http.patch(f"/v1/agents/{agent_id}/identities/detach/{identity}")).json() is None
    removed = await served.http.delete(f"/v1/blocks/{block}")
    assert (removed.status_code, removed.json()) == (200, None)
    gone = await served.http.delete(f"/v1/agents/{agent_id}")
    assert (gone.status_code, gone.json().keys()) == (200, {"message"})


async def test_recompiled_prompt_is_a_quoted_string_and_health_names_its_version(served: Served) -> None:
    answer = await served.http.post(f"/v1/agents/{await agent_of(served)}/recompile")
    assert isinstance(answer.json(), str)
    assert (await served.http.get("/v1/health/")).json().keys() == {"version", "status"}
