"""Drive a server with letta-client 0.1.324: one argument, the server's URL. Prints what it saw as one JSON object.

The forms of early 2025 that this client's signatures no longer have go through its `request_options`.
"""

import json
import sys
from typing import Any

import letta_client

MODEL = "openai/gpt-4"


def kinds(messages: Any) -> list[str]:
    return [message.message_type for message in messages]


def drive(client: Any) -> dict[str, Any]:
    agent = client.agents.create(
        name="my_agent",
        memory_blocks=[{"label": "human", "limit": 2000, "value": "Name: Bob"}],
        embedding="openai/text-embedding-ada-002",
        request_options={"additional_body_parameters": {"llm": MODEL}},
    )
    letters = client.agents.create(
        model=MODEL, agent_type="memgpt_agent", memory_blocks=[{"label": "human", "value": ""}]
    )
    sent = client.agents.messages.create(agent.id, messages=[{"role": "user", "text": "my name is Ada"}])
    replied = client.agents.messages.create(letters.id, messages=[{"role": "user", "content": "my name is Eve"}])
    raw = client.agents.messages.create(
        letters.id, messages=[{"role": "user", "content": "echo raw"}], use_assistant_message=False
    )
    streamed = list(client.agents.messages.create_stream(agent.id, messages=[{"role": "user", "content": "echo a"}]))
    pieces = list(
        client.agents.messages.create_stream(
            agent.id, messages=[{"role": "user", "content": "echo a b c"}], stream_tokens=True
        )
    )
    run = client.runs.list(agent_id=agent.id, ascending=True)[0]
    [step, *_] = client.runs.steps.list(run.id)
    provider = client.providers.create(
        name="mine", provider_type="openai", api_key="sk-not-a-key", base_url="http://127.0.0.1:9/v1"
    )
    identity = client.identities.create(identifier_key="older", identity_type="user", name="Ada")
    block = client.blocks.create(label="extra", value="v", name="template")
    return {
        "health": client.health.check().status,
        "agent": [agent.model if hasattr(agent, "model") else agent.llm_config.handle, agent.llm_config.model],
        "embedding": agent.embedding_config.embedding_model,
        "relations": [bool(found.tools and found.memory.blocks) for found in client.agents.list(name="my_agent")],
        "sent": [kinds(sent.messages), sent.stop_reason.stop_reason, sent.usage.step_count],
        "replied": kinds(replied.messages),
        "raw": kinds(raw.messages),
        "streamed": kinds(streamed),
        "said": "".join(one.content for one in pieces if one.message_type == "assistant_message"),
        "core_memory": [one.label for one in client.agents.core_memory.retrieve(agent.id).blocks],
        "context": client.agents.context.retrieve(agent.id).context_window_size_max > 0,
        "modified": client.agents.modify(agent.id, name="renamed", tags=["t"]).name,
        "block_modified": client.agents.blocks.modify(agent.id, "human", value="changed").value,
        "block_name": client.blocks.modify(block.id, value="w").value,
        "attached": "extra" in [one.label for one in client.agents.blocks.attach(agent.id, block.id).memory.blocks],
        "tools": len(client.agents.tools.list(agent.id)) > 0,
        "variables": client.agents.memory_variables.list(agent.id).variables,
        "counts": [
            client.agents.count() >= 2,
            client.blocks.count() >= 2,
            client.tools.count() > 3,
            client.identities.count() >= 1,
        ],
        "history": [
            len(client.agents.messages.list(agent.id, limit=3)),
            len(client.agents.messages.list(agent.id)) > 8,
        ],
        "run": [
            run.status,
            client.runs.retrieve(run.id).id == run.id,
            client.runs.usage.retrieve(run.id).total_tokens > 0,
        ],
        "active": client.runs.list_active(agent_id=agent.id),
        "jobs": client.jobs.retrieve(run.id).status,
        "job_lists": [len(client.jobs.list()) > 0, client.jobs.list_active()],
        "step": client.steps.retrieve(step.id).id == step.id,
        "trace": bool(client.telemetry.retrieve_provider_trace(step.id).request_json),
        "search": [
            one.id == agent.id
            for one in client.agents.search(search=[{"field": "name", "operator": "eq", "value": "renamed"}]).agents
        ],
        "models": any(model.handle == "letta/scripted" for model in client.models.list()),
        "embeddings": [client.models.listembeddingmodels(), type(client.models.embeddings.list()).__name__],
        "tags": "t" in client.tags.list(),
        "provider": [provider.name, client.providers.retrieve_provider(provider.id).id == provider.id],
        "provider_deleted": client.providers.delete(provider.id) is not None,
        "identity": client.identities.modify(identity.id, name="Eve").name,
        "reset": client.agents.messages.reset(agent.id, add_default_initial_messages=True).id == agent.id,
        "run_deleted": client.runs.delete(run.id).id == run.id,
        "deleted": [client.agents.delete(agent.id) is not None, client.agents.delete(letters.id) is not None],
    }


if __name__ == "__main__":
    older: Any = letta_client.Letta
    json.dump(drive(older(base_url=sys.argv[1], token="any")), sys.stdout)
