"""What `letta doctor` finds out about providers: list the models, chat with one, let it call a tool.

Goes through the API like everybody else, with an agent that is deleted afterwards.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import letta_client
from letta_client.types import AgentState

from letta.cli.checks import Check
from letta.cli.connect import detail
from letta.client import Letta

SCRIPTED = "letta/scripted"
PATIENCE = 120.0
"""Seconds a model has for its whole answer."""

_CHEAP = re.compile(r"(?:^|[-/:.])(?:nano|mini|haiku|flash|lite|small|8b|7b|4b|3b|1b)", re.IGNORECASE)
_NOBODY = "letta-doctor-knows-no-such-provider/none"
_CHAT = "Answer with the one word: ready"
_TOOL = 'Call memory_insert with {"label": "notes", "new_string": "checked"}'


def providers(client: Letta, *, calls: bool, models: Sequence[str]) -> Iterator[Check]:
    """One finding for each provider and each model tried; the built-in model is tried always."""
    client = client.with_options(max_retries=0, timeout=PATIENCE)
    found = _provider_list(client)
    if not found:
        advice = "Set a key such as OPENAI_API_KEY or ANTHROPIC_API_KEY where the server starts, or start Ollama."
        yield Check("providers", "warning", "none: only the built-in rule-based model answers", advice)
    pretends = calls and _pretends(client)
    if pretends:
        advice = "Fine for trying things out. Unset it where the server starts to use real models."
        yield Check("models", "warning", "LETTA_SCRIPTED_MODELS: the built-in model answers for every other", advice)
    tried = list(models)
    for provider in found:
        check, handle = _lists(client, provider)
        yield check
        if handle is not None and not models:
            tried.append(handle)
    if calls:
        for handle in [SCRIPTED] if pretends else [SCRIPTED, *tried]:
            yield trial(client, handle)


def _pretends(client: Letta) -> bool:
    """Whether the server takes a model that cannot be: then a trial would say nothing about any provider."""
    try:
        with _agent(client, _NOBODY):
            return True
    except letta_client.APIStatusError:
        return False


def _provider_list(client: Letta) -> list[dict[str, Any]]:
    answer: Any = client.get("/v1/providers/", cast_to=object)
    return list(answer)


def _lists(client: Letta, provider: dict[str, Any]) -> tuple[Check, str | None]:
    """Ask a provider for its models; the finding, and the handle of one worth trying."""
    name = f"provider {provider['name']}"
    try:
        client.post(f"/v1/providers/{provider['id']}/check", cast_to=object)
        handles = _handles(client, provider["name"])
    except letta_client.APIError as error:
        return Check(name, "problem", _reason(error), f"See docs/providers.md for {provider['provider_type']}."), None
    if not handles:
        return Check(name, "warning", "it answers, but lists no model one can talk to", "Load a model there."), None
    return Check(name, "ok", f"lists {len(handles)} model" + ("" if len(handles) == 1 else "s")), choose(handles)


def _handles(client: Letta, provider: str) -> list[str]:
    """What can be chatted with; other names of the same models left out."""
    found = [str(model.handle) for model in client.models.list(extra_query={"provider_name": provider})]
    return [handle for handle in found if handle.startswith(f"{provider}/")]


def choose(handles: Sequence[str]) -> str:
    """A small model where the names tell, else the first."""
    return next((handle for handle in handles if _CHEAP.search(handle)), handles[0])


def trial(client: Letta, handle: str) -> Check:
    """Talk to a model and let it call a tool."""
    name = f"model {handle}"
    try:
        with _agent(client, handle) as agent:
            if not _says_something(client, agent):
                return Check(name, "problem", "its answer is empty", "Try another model with --model.")
            if not _calls_a_tool(client, agent):
                advice = "Agents need a model that calls tools; try another one with --model."
                return Check(name, "warning", "chats, but did not call the tool it was told to call", advice)
    except letta_client.APIError as error:
        return Check(name, "problem", _reason(error), "Check the model's name and the account at its provider.")
    return Check(name, "ok", "chats and calls a tool")


@contextmanager
def _agent(client: Letta, handle: str) -> Iterator[AgentState]:
    agent = client.agents.create(
        name="letta doctor",
        hidden=True,
        model=handle,
        memory_blocks=[{"label": "notes", "value": ""}],
        include_base_tools=False,
        tools=["memory_insert"],
    )
    try:
        yield agent
    finally:
        client.agents.delete(agent.id)
        for block in agent.blocks:
            client.blocks.delete(str(block.id))


def _says_something(client: Letta, agent: AgentState) -> bool:
    answer = client.agents.messages.create(agent.id, input=_CHAT)
    return any(message.message_type == "assistant_message" and message.content for message in answer.messages)


def _calls_a_tool(client: Letta, agent: AgentState) -> bool:
    client.agents.messages.create(agent.id, input=_TOOL)
    return "checked" in client.agents.blocks.retrieve("notes", agent_id=agent.id).value


def _reason(error: letta_client.APIError) -> str:
    if isinstance(error, letta_client.APITimeoutError):
        return f"no answer within {PATIENCE:g} seconds"
    return detail(error.body) or error.message
