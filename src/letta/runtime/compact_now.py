"""Compaction on request, outside a run."""

from letta.memory.compaction import DEFAULT_CLIP
from letta.runtime.compact import Occasion, check_writer, compact, settings_of
from letta.runtime.loop import Means
from letta.runtime.request import build, fixed_texts, limit_of, resolve, toolbox_of
from letta.schemas.compaction import CompactionResponse, CompactionSettings
from letta.schemas.messages import Role
from letta.schemas.sends import SendRequest
from letta.store import runs
from letta.tools.rules import RuleBook

_PLAIN = SendRequest(input="-")


async def compact_now(
    means: Means, agent_id: str, conversation_id: str, override: CompactionSettings | None
) -> CompactionResponse:
    """Replace the older part of a conversation by a summary, as its settings or the override say.

    Raises:
        letta.errors.NotFound: no such agent, conversation or model.
        letta.errors.Conflict: the conversation was changed meanwhile.
    """
    await check_writer(means.registry, override)
    versions = await means.database.read(runs.current_versions, agent_id, conversation_id)
    window = await means.windows.get(agent_id, conversation_id, versions)
    resolved = resolve(means.registry, window, _PLAIN)
    toolbox = toolbox_of(window, _PLAIN, means.runners)
    call = build(window, _PLAIN, (), RuleBook(window.agent.tool_rules or ()), resolved, toolbox)
    fixed = means.ledger.tokens(resolved.handle, fixed_texts(call), ())
    occasion = Occasion("manual", limit_of(window, resolved), fixed, resolved, call.request)
    before = len(window.messages) + 1
    settings = settings_of(window, override)
    done = await compact(means.database.write, means.registry, means.ledger, window, settings, occasion)
    if done is None:
        earlier = next((message.text for message in window.messages if message.role is Role.SUMMARY), "")
        return CompactionResponse(summary=earlier[:DEFAULT_CLIP], num_messages_before=before, num_messages_after=before)
    return CompactionResponse(summary=done.message.text, num_messages_before=before, num_messages_after=done.kept + 1)
