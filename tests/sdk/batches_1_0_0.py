"""Batches with letta-client 1.0.0. Run with the address of a server; prints what it saw as JSON."""

import json
import sys
import time
from typing import Any

from letta_client import Letta


def drive(client: Any) -> dict[str, Any]:
    agents = [client.agents.create(model="letta/scripted", include_base_tools=False) for _ in range(2)]
    made = client.batches.create(
        requests=[
            {"agent_id": agent.id, "messages": [{"role": "user", "content": f"echo {word}"}], "max_steps": 2}
            for agent, word in zip(agents, ("one", "two"), strict=True)
        ]
    )
    deadline = time.monotonic() + 30
    while (batch := client.batches.retrieve(made.id)).status in ("created", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    said = list(client.batches.messages.list(made.id, order="asc"))
    waiting = client.batches.create(requests=[{"agent_id": agents[0].id, "input": "!wait 30 hello"}])
    client.batches.cancel(waiting.id)
    return {
        "made": [made.job_type, made.id.startswith("job-")],
        "ended": [batch.status, batch.completed_at is not None],
        "listed": made.id in [one.id for one in client.batches.list(limit=1)],
        "said": sorted([message.role, message.content[-1].text] for message in said),
        "of_one": [m.content[-1].text for m in client.batches.messages.list(made.id, agent_id=agents[1].id)],
        "cancelled": client.batches.retrieve(waiting.id).status,
    }


if __name__ == "__main__":
    with Letta(base_url=sys.argv[1], api_key="any", max_retries=0) as client:
        print(json.dumps(drive(client)))
