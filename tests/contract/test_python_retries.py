"""The newest Python SDK loses its patience and sends again: the agent hears the message once."""

from letta_client import Letta
from letta_client.types import AgentState
from tests.contract.process import ServerProcess


def test_message_that_takes_longer_than_the_client_waits_is_answered_once(server: ServerProcess) -> None:
    with Letta(base_url=server.url, api_key="any", timeout=1.0, max_retries=5) as client:
        agent: AgentState = client.agents.create(model="openai/gpt-4o-mini")
        answer = client.agents.messages.create(agent.id, input="!wait 2 hello")
        runs = client.runs.list(agent_id=agent.id).items
        said = client.agents.messages.list(agent.id).items
        client.agents.delete(agent.id)
    assert answer.stop_reason.stop_reason == "end_turn"
    assert [run.status for run in runs] == ["completed"]
    assert [message.message_type for message in said] == ["system_message", "user_message", "assistant_message"]
    assert answer.messages[-1].id == said[-1].id


def test_key_given_by_the_caller_makes_two_calls_one(client: Letta) -> None:
    agent = client.agents.create(model="openai/gpt-4o-mini")
    headers = {"Idempotency-Key": "only once"}
    answers = [client.agents.messages.create(agent.id, input="hello", extra_headers=headers) for _ in range(2)]
    runs = client.runs.list(agent_id=agent.id).items
    client.agents.delete(agent.id)
    assert answers[0] == answers[1]
    assert len(runs) == 1


def test_own_fields_travel_in_the_extra_body(client: Letta) -> None:
    agent = client.agents.create(model="openai/gpt-4o-mini", extra_body={"busy_policy": "reject"})
    kept = client.agents.retrieve(agent.id)
    answer = client.agents.messages.create(
        agent.id, input="hello", extra_body={"busy_policy": "enqueue", "deadline_seconds": 30}
    )
    client.agents.delete(agent.id)
    assert kept.model_extra == {"busy_policy": "reject"}
    assert answer.stop_reason.stop_reason == "end_turn"
