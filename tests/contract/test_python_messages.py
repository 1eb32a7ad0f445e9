"""The newest Python SDK in its strict mode: sending, streaming, what was said, and what a run and its steps cost."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from letta_client import APIStatusError, ConflictError, Letta, NotFoundError, RateLimitError, UnprocessableEntityError
from letta_client.types import AgentState
from letta_client.types.agents import LettaResponse, Run
from tests.contract.calls import call, plain

MODEL = "openai/gpt-4o-mini"
SHOWN: dict[str, Any] = {
    "assistant_message_tool_kwarg": "message",
    "assistant_message_tool_name": "send_message",
    "client_tools": [{"name": "look", "description": "Looks", "parameters": {"type": "object"}}],
    "client_skills": [{"name": "knit", "description": "Knits", "location": "/skills/knit"}],
    "enable_thinking": "true",
    "include_compaction_messages": False,
    "include_return_message_types": None,
    "max_steps": 5,
    "override_model": "openai/gpt-4o",
    "override_system": "Only for now.",
    "return_logprobs": False,
    "return_token_ids": False,
    "top_logprobs": None,
    "use_assistant_message": True,
}


@pytest.fixture
def agent(client: Letta) -> Iterator[AgentState]:
    made = client.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": ""}])
    yield made
    client.agents.delete(made.id)


def kinds(messages: Any) -> list[str]:
    return [message.message_type for message in messages]


def finished(client: Letta, run: Run) -> Run:
    deadline = time.monotonic() + 15
    while (seen := client.runs.retrieve(run.id)).status in ("created", "running"):
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    return seen


def test_message_with_every_parameter_is_answered(client: Letta, agent: AgentState) -> None:
    answer = call(
        client.agents.messages.create,
        unset={"input", "background", "stream_tokens", "include_pings"},
        agent_id=agent.id,
        messages=[{"role": "user", "content": [{"type": "text", "text": "echo hi"}], "otid": "otid-1", "name": "ada"}],
        streaming=False,
        **SHOWN,
    )
    assert isinstance(answer, LettaResponse)
    assert plain(answer)["messages"][0]["content"] == "hi"
    assert plain(answer)["stop_reason"] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    usage = plain(answer)["usage"]
    assert usage["step_count"] == 1
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    [step] = client.runs.steps.list(usage["run_ids"][0])
    assert step.model == "gpt-4o"


def test_tool_calls_and_returns_are_shown_in_order(client: Letta, agent: AgentState) -> None:
    answer = client.agents.messages.create(agent.id, input="my name is Ada")
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message", "assistant_message"]
    called, returned, said = (plain(message) for message in answer.messages)
    assert called["tool_calls"] == [called["tool_call"]]
    assert returned["tool_call_id"] == called["tool_call"]["tool_call_id"]
    assert returned["tool_returns"][0]["status"] == returned["status"] == "success"
    assert "Ada" in said["content"]
    assert "Ada" in client.agents.blocks.retrieve("human", agent_id=agent.id).value


def test_only_the_message_types_wanted_come_back_and_all_are_stored(client: Letta, agent: AgentState) -> None:
    answer = client.agents.messages.create(
        agent.id, input="my name is Ada", include_return_message_types=["assistant_message"]
    )
    assert kinds(answer.messages) == ["assistant_message"]
    stored = kinds(client.agents.messages.list(agent.id, order="asc"))
    assert stored == ["system_message", "user_message", "tool_call_message", "tool_return_message", "assistant_message"]


def test_steps_stream_as_whole_messages(client: Letta, agent: AgentState) -> None:
    answer: Any = call(
        client.agents.messages.create,
        unset={"messages"},
        agent_id=agent.id,
        input="my name is Ada",
        streaming=True,
        stream_tokens=False,
        background=False,
        include_pings=True,
        **SHOWN,
    )
    with answer as stream:
        frames = list(stream)
    assert kinds(frames) == [
        "ping", "tool_call_message", "tool_return_message", "assistant_message", "stop_reason", "usage_statistics",
    ]  # fmt: skip
    run_id = frames[0].run_id
    assert frames[0].id.startswith("ping-")
    assert all(frame.run_id == run_id for frame in frames[:4])
    assert frames[-1].run_ids == [run_id]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_tokens_stream_as_pieces_of_one_message(client: Letta, agent: AgentState) -> None:
    with call(
        client.agents.messages.stream,
        unset={"messages", "streaming"},
        agent_id=agent.id,
        input="echo one two three",
        stream_tokens=True,
        background=False,
        include_pings=False,
        **SHOWN,
    ) as stream:
        frames: list[Any] = list(stream)
    pieces = [frame for frame in frames if frame.message_type == "assistant_message"]
    assert kinds(frames) == ["assistant_message"] * len(pieces) + ["stop_reason", "usage_statistics"]
    assert len(pieces) > 1
    assert "".join(piece.content for piece in pieces) == "one two three"
    assert len({(piece.id, piece.otid, piece.step_id, piece.run_id) for piece in pieces}) == 1
    [stored] = client.messages.retrieve(pieces[0].id)
    assert plain(stored)["otid"] == pieces[0].otid
    assert plain(stored)["content"] == "one two three"


def test_silent_stream_is_kept_alive_by_pings(impatient: Letta) -> None:
    made = impatient.agents.create(model=MODEL)
    frames: list[Any] = list(impatient.agents.messages.create(made.id, input="!wait 1 hello", streaming=True))
    assert kinds(frames)[:3] == ["ping", "ping", "ping"]
    assert kinds(frames)[-3:] == ["assistant_message", "stop_reason", "usage_statistics"]
    assert len({frame.id for frame in frames[:3]}) == 3


def test_error_inside_a_stream_is_raised_with_its_type(client: Letta, agent: AgentState) -> None:
    frames = iter(client.agents.messages.create(agent.id, input="!error auth", streaming=True))
    assert [next(frames).message_type, next(frames).message_type] == ["ping", "stop_reason"]
    with pytest.raises(APIStatusError) as failed:
        next(frames)
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["message_type"] == "error_message"
    assert failed.value.body["error_type"] == "llm_authentication"


def test_error_outside_a_stream_has_the_status_of_its_kind(client: Letta, agent: AgentState) -> None:
    with pytest.raises(APIStatusError) as failed:
        client.agents.messages.create(agent.id, input="!error bad_request")
    assert failed.value.status_code == 400
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["error"]["type"] == "llm_bad_request"
    with pytest.raises(RateLimitError):
        client.agents.messages.create(agent.id, input="!error rate_limit")
    assert kinds(client.agents.messages.create(agent.id, input="hello").messages) == ["assistant_message"]


def test_failed_call_of_a_tool_is_shown_to_the_model(client: Letta, agent: AgentState) -> None:
    answer = client.agents.messages.create(agent.id, input='call memory_insert with {"label": "nowhere"}')
    returned = plain(answer.messages[1])
    assert returned["status"] == returned["tool_returns"][0]["status"] == "error"
    assert answer.stop_reason.stop_reason == "end_turn"


def test_run_in_the_background_is_found_when_it_has_ended(client: Letta, agent: AgentState) -> None:
    run = call(
        client.agents.messages.create_async,
        unset={"messages"},
        agent_id=agent.id,
        callback_url=None,
        input="my name is Ada",
        **SHOWN,
    )
    assert (run.agent_id, run.background, run.status) in (
        (agent.id, True, "created"),
        (agent.id, True, "running"),
    )
    ended = finished(client, run)
    assert (ended.status, ended.stop_reason) == ("completed", "end_turn")
    assert ended.completed_at is not None
    assert ended.total_duration_ns is not None
    listed = call(
        client.runs.messages.list, run_id=run.id, after=None, before=None, limit=10, order="asc", order_by="created_at"
    )
    assert kinds(listed) == ["user_message", "tool_call_message", "tool_return_message", "assistant_message"]


def test_running_message_is_cancelled(client: Letta, agent: AgentState) -> None:
    run = client.agents.messages.create_async(agent.id, input="!wait 30 hello")
    assert call(client.agents.messages.cancel, agent_id=agent.id, run_ids=[run.id]) == {run.id: "cancelled"}
    assert finished(client, run).status == "cancelled"
    with pytest.raises(ConflictError):
        client.agents.messages.cancel(agent.id)
    assert kinds(client.agents.messages.create(agent.id, input="hello").messages) == ["assistant_message"]


def test_messages_are_read_back_by_list_and_by_id(client: Letta, agent: AgentState) -> None:
    client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "echo hi", "otid": str(uuid4())}])
    listed = call(
        client.agents.messages.list,
        agent_id=agent.id,
        after=None,
        assistant_message_tool_kwarg="message",
        assistant_message_tool_name="send_message",
        before=None,
        conversation_id="default",
        group_id=None,
        include_err=False,
        include_return_message_types=["user_message", "assistant_message"],
        limit=10,
        order="asc",
        order_by="created_at",
        use_assistant_message=True,
    )
    said = [(message.message_type, plain(message)["content"]) for message in listed.items]
    assert said == [("user_message", "echo hi"), ("assistant_message", "hi")]
    everywhere = call(
        client.messages.list, after=None, before=None, conversation_id=None, limit=2, order="desc",
        include_return_message_types=["user_message", "assistant_message"],
    )  # fmt: skip
    assert [plain(message)["content"] for message in everywhere] == ["echo hi", "hi"]
    [one] = call(client.messages.retrieve, message_id=listed.items[0].id)
    assert plain(one) == plain(listed.items[0])


def test_reset_empties_the_window_and_keeps_the_agent(client: Letta, agent: AgentState) -> None:
    client.agents.messages.create(agent.id, input="my name is Ada")
    state = call(client.agents.messages.reset, agent_id=agent.id, add_default_initial_messages=True)
    assert state is not None
    assert "Ada" in state.memory.blocks[0].value
    answer = client.agents.messages.create(agent.id, input="echo again")
    assert plain(answer.messages[0])["content"] == "again"


def test_run_and_step_report_what_they_cost(client: Letta, agent: AgentState) -> None:
    answer = client.agents.messages.create(agent.id, input="my name is Ada")
    [run_id] = answer.usage.run_ids or []
    found = call(
        client.runs.list, active=False, after=None, agent_id=agent.id, agent_ids=[agent.id], ascending=False,
        background=False, before=None, conversation_id=None, limit=5, order="desc", order_by="created_at",
        statuses=["completed"], stop_reason="end_turn",
    )  # fmt: skip
    assert [run.id for run in found] == [run_id]
    usage = client.runs.usage.retrieve(run_id)
    assert usage.total_tokens == answer.usage.total_tokens
    steps = list(
        call(
            client.runs.steps.list, run_id=run_id, after=None, before=None, limit=5, order="asc", order_by="created_at"
        )
    )
    assert len(steps) == answer.usage.step_count == 2
    assert sum(step.total_tokens or 0 for step in steps) == answer.usage.total_tokens
    traces = call(client.runs.trace.retrieve, run_id=run_id, limit=5)
    assert len(traces) == 2
    first = client.steps.retrieve(steps[0].id)
    assert plain(first) == plain(steps[0])
    shown = call(
        client.steps.messages.list, step_id=first.id, after=None, before=None, limit=5, order="asc",
        order_by="created_at",
    )  # fmt: skip
    assert kinds(shown) == ["user_message", "tool_call_message", "tool_return_message"]
    assert client.steps.metrics.retrieve(first.id).step_ns
    trace = client.steps.trace.retrieve(first.id)
    assert trace is not None
    assert "my name is Ada" in str(trace.request_json)


def test_steps_take_every_filter_and_feedback(client: Letta, agent: AgentState) -> None:
    answer = client.agents.messages.create(agent.id, input="echo hi")
    [step] = client.runs.steps.list((answer.usage.run_ids or [""])[0])
    judged = call(client.steps.feedback.create, step_id=step.id, feedback="positive", tags=["good"])
    assert (judged.feedback, judged.tags) == ("positive", ["good"])
    found = call(
        client.steps.list,
        after=None,
        agent_id=agent.id,
        before=None,
        end_date="2999-01-01T00:00:00Z",
        feedback="positive",
        has_feedback=True,
        limit=5,
        model="gpt-4o-mini",
        order="asc",
        order_by="created_at",
        project_id=None,
        start_date="2020-01-01T00:00:00Z",
        tags=None,
        trace_ids=None,
    )
    assert [one.id for one in found] == [step.id]
    assert list(client.steps.list(agent_id=agent.id, feedback="negative")) == []
    assert client.steps.feedback.create(step.id, feedback=None).feedback is None


def test_neither_or_both_forms_of_a_message_are_refused(client: Letta, agent: AgentState) -> None:
    for given in ({}, {"messages": [{"role": "user", "content": "a"}], "input": "b"}):
        with pytest.raises(UnprocessableEntityError) as refused:
            client.agents.messages.create(agent.id, **given)  # type: ignore[call-overload]
        assert "exactly one of" in str(refused.value.body)
    with pytest.raises(NotFoundError):
        client.agents.messages.create(f"agent-{uuid4()}", input="hello")


def test_clients_own_tool_waits_for_its_result_and_blocks_other_messages(client: Letta, agent: AgentState) -> None:
    tool: Any = {"name": "look", "description": "Looks", "parameters": {"type": "object", "properties": {}}}
    asked = client.agents.messages.create(agent.id, input="call look with {}", client_tools=[tool])
    assert kinds(asked.messages) == ["approval_request_message"]
    assert asked.stop_reason.stop_reason == "requires_approval"
    request = plain(asked.messages[0])
    with pytest.raises(ConflictError) as refused:
        client.agents.messages.create(agent.id, input="hello")
    assert isinstance(refused.value.body, dict)
    detail = refused.value.body["detail"]
    assert (detail["code"], detail["pending_request_id"]) == ("PENDING_APPROVAL", request["id"])
    shown = client.agents.retrieve(agent.id, include=["agent.pending_approval"]).pending_approval
    assert shown is not None
    assert plain(shown) == request
    result: Any = {"type": "tool", "tool_call_id": request["tool_call"]["tool_call_id"], "tool_return": "blue"}
    approvals: list[Any] = [{**result, "status": "success"}]
    answer = client.agents.messages.create(agent.id, messages=[{"type": "approval", "approvals": approvals}])
    assert kinds(answer.messages) == ["tool_return_message", "assistant_message"]
    assert plain(answer.messages[0])["tool_return"] == "blue"


@pytest.mark.parametrize(("approve", "status"), [(True, "success"), (False, "error")])
def test_tool_that_needs_approval_runs_when_it_is_given(
    client: Letta, agent: AgentState, approve: bool, status: str
) -> None:
    call(
        client.agents.tools.update_approval,
        tool_name="memory_insert",
        agent_id=agent.id,
        body_requires_approval=True,
        query_requires_approval=True,
    )
    text = 'call memory_insert with {"label": "human", "new_string": "written"}'
    frames: list[Any] = list(client.agents.messages.create(agent.id, input=text, streaming=True, stream_tokens=True))
    assert kinds(frames)[-3:] == ["approval_request_message", "stop_reason", "usage_statistics"]
    assert len({(frame.id, frame.otid) for frame in frames if frame.message_type == "approval_request_message"}) == 1
    decision: Any = {"type": "approval", "approval_request_id": frames[-3].id, "approve": approve, "reason": "because"}
    answer = client.agents.messages.create(agent.id, messages=[decision])
    assert kinds(answer.messages) == ["tool_return_message", "assistant_message"]
    assert plain(answer.messages[0])["status"] == status
    assert ("written" in client.agents.blocks.retrieve("human", agent_id=agent.id).value) is approve
