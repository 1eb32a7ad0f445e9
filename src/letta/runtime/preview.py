"""The request a provider would get for some messages, without sending or storing anything.

A conversation that is too long is shown as it is: only sending compacts it.
"""

from sqlalchemy import Connection

from letta.errors import InvalidValue, NotBuilt
from letta.memory.window import Window, in_window
from letta.models.protocol import ShowsRequests
from letta.models.registry import Registry
from letta.runtime import approvals, transcript
from letta.runtime.request import build, resolve, toolbox_of
from letta.schemas.common import new_id
from letta.schemas.sends import SendRequest
from letta.store import agents
from letta.store.access import Database
from letta.store.query import now
from letta.store.runs import Versions, Work
from letta.tools.rules import RuleBook


async def preview(
    database: Database, registry: Registry, agent_id: str, conversation_id: str, request: SendRequest
) -> bytes:
    """The body of the request as JSON.

    Raises:
        letta.errors.NotFound: no such agent, conversation or model.
        letta.errors.InvalidValue: the messages answer calls that wait, which are carried out first.
        letta.errors.NotBuilt: a provider whose library does not show what it sends.
    """
    if approvals.is_answer(request):
        raise InvalidValue("messages: answers to calls cannot be previewed: the calls would have to be made")
    window = await database.read(_window, agent_id, conversation_id)
    resolved = resolve(registry, window, request)
    model = resolved.model
    if not isinstance(model, ShowsRequests):
        raise NotBuilt(f"The requests to {resolved.provider} are made by a library that does not show them beforehand")
    work = Work(new_id("run"), agent_id, conversation_id, {}, False, 1, now())
    inputs = transcript.new_messages(request, work, now())
    rules = RuleBook(window.agent.tool_rules or ())
    return model.payload(build(window, request, inputs, rules, resolved, toolbox_of(window, request, {})).request)


def _window(connection: Connection, agent_id: str, conversation_id: str) -> Window:
    snapshot = agents.snapshot(connection, agent_id, conversation_id)
    versions = Versions(snapshot.version, snapshot.thread.version)
    return Window(snapshot, versions, in_window(connection, snapshot.thread))
