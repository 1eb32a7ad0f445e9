"""Drive a server with letta-client 1.0.0: one argument, the server's URL. Prints what it saw as one JSON object."""

import json
import sys
from typing import Any

from letta_client import Letta

MODEL = "openai/gpt-4o-mini"


def kinds(messages: Any) -> list[str]:
    return [message.message_type for message in messages]


def drive(client: Any) -> dict[str, Any]:
    identity = client.identities.create(identifier_key="old-one", identity_type="user", name="Ada")
    agent = client.agents.create(
        name="one", model=MODEL, memory_blocks=[{"label": "human", "value": ""}], identity_ids=[identity.id], tags=["x"]
    )
    sent = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "my name is Ada"}])
    streamed = list(
        client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "echo a"}], streaming=True)
    )
    pieces = client.agents.messages.stream(
        agent.id, messages=[{"role": "user", "content": "echo a b"}], stream_tokens=True, include_pings=False
    )
    said = "".join(frame.content for frame in pieces if frame.message_type == "assistant_message")
    run = client.runs.list(agent_id=agent.id, order="asc").items[0]
    tool = client.tools.list(name="memory_rethink").items[0]
    return {
        "health": client.health().status,
        "listed": [one.id == agent.id for one in client.agents.list(tags=["x"])],
        "relations": [bool(agent.blocks), bool(agent.tools), agent.tags],
        "sent": [kinds(sent.messages), sent.stop_reason.stop_reason, sent.usage.step_count],
        "streamed": kinds(streamed),
        "said": said,
        "kept": client.agents.blocks.retrieve("human", agent_id=agent.id).value,
        "history": len(list(client.agents.messages.list(agent.id, order="asc", limit=2))),
        "run": [
            run.status,
            len(list(client.runs.steps.list(run.id))),
            client.runs.usage.retrieve(run.id).total_tokens > 0,
        ],
        "attached": tool.id in [one.id for one in client.agents.tools.attach(tool.id, agent_id=agent.id).tools],
        "reset": client.agents.messages.reset(agent.id, add_default_initial_messages=True) is not None,
        "updated": client.agents.update(agent.id, description="d").description,
        "identity_agents": [one.id == agent.id for one in client.identities.agents.list(identity.id)],
        "identity_updated": client.identities.update(identity.id, name="Eve").name,
        "base_tools": len(client.tools.upsert_base_tools()) > 3,
        "models": any(model.handle == "letta/scripted" for model in client.models.list()),
        "deleted": [client.identities.delete(identity.id) is None, client.agents.delete(agent.id) is not None],
    }


if __name__ == "__main__":
    json.dump(drive(Letta(base_url=sys.argv[1], api_key="any", max_retries=0)), sys.stdout)
