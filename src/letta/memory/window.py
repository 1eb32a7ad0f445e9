"""The messages a model sees, kept in memory for the agents that are talking.

A window is read once and then grows with each committed step; the version numbers of agent and conversation tell
whether what is kept still holds. Cost follows the window, never the history.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from sqlalchemy import Connection

from letta.memory.compaction import clamp_returns
from letta.schemas.agents import AgentState
from letta.schemas.messages import Message, Role, TextPart
from letta.store import agents, configurations, messages
from letta.store.access import Database
from letta.store.agents import Snapshot
from letta.store.configurations import Configuration
from letta.store.conversations import Thread
from letta.store.runs import Versions
from letta.store.traces import Kept

SUMMARY_INTRODUCTION = "[This is a summary of earlier messages of this conversation, which are not shown any more.]"
_MAX_WINDOWS = 512
_MAX_MESSAGES = 50_000


@dataclass(slots=True)
class Window:
    """What the next model call of a conversation starts from. `messages` leaves out the compiled system message."""

    snapshot: Snapshot
    versions: Versions
    messages: list[Message] = field(default_factory=list)
    traced: Kept | None = None
    # The digest of the agent's configuration, once it is known to be stored.
    recorded: str | None = None
    _configuration: Configuration | None = None
    _clamped: dict[tuple[str, int], Message] = field(default_factory=dict)

    def introduced(self, summary: Message) -> Message:
        """The summary with a line that says what it is, the same object every time."""
        key = (summary.id, 0)
        if key not in self._clamped:
            text = f"{SUMMARY_INTRODUCTION}\n\n{summary.text}"
            self._clamped[key] = Message.model_construct(**{**dict(summary), "parts": [TextPart(text=text)]})
        return self._clamped[key]

    def clamped(self, message: Message, limit: int) -> Message:
        """The message with its tool results cut to `limit` characters; the same object every time it is asked for."""
        if message.role is not Role.TOOL:
            return message
        key = (message.id, limit)
        if key not in self._clamped:
            self._clamped[key] = clamp_returns(message, limit)
        return self._clamped[key]

    @property
    def configuration(self) -> Configuration:
        """What the agent is besides its memory."""
        if self._configuration is None:
            self._configuration = configurations.of(self.agent)
        return self._configuration

    @property
    def agent(self) -> AgentState:
        return self.snapshot.agent

    @property
    def thread(self) -> Thread:
        return self.snapshot.thread


class Windows:
    """The windows of recently used conversations."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[str, Window] = OrderedDict()
        self._held = 0

    async def get(self, agent_id: str, conversation_id: str, versions: Versions) -> Window:
        """The window as of `versions`: the kept one if it is that, else read anew.

        Messages are read again only when the conversation changed by other hands, not when a block did.

        Raises:
            letta.errors.NotFound: agent or conversation is gone.
        """
        kept = self._kept.get(conversation_id)
        if kept is not None and kept.versions == versions:
            self._kept.move_to_end(conversation_id)
            return kept
        with_messages = kept is None or kept.versions.thread != versions.thread
        window = await self._database.read(_load, agent_id, conversation_id, with_messages)
        if kept is not None:
            window.recorded = kept.recorded
        if kept is not None and not with_messages:
            if window.versions.thread == kept.versions.thread:
                window.messages, window.traced = kept.messages, kept.traced
            else:
                window = await self._database.read(_load, agent_id, conversation_id, True)
        self._keep(conversation_id, window)
        return window

    def extend(self, conversation_id: str, new: list[Message], before: Versions, after: Versions) -> None:
        """A step was committed: `new` messages, and the versions as they are now.

        When somebody else changed the conversation in between, the window is dropped and read again.
        """
        kept = self._kept.get(conversation_id)
        if kept is None:
            return
        if kept.versions.thread != before.thread or after.thread != before.thread + 1:
            self.forget(conversation_id)
            return
        kept.messages.extend(new)
        self._held += len(new)
        # The agent's own version is left as it was read: if it was raised meanwhile, the snapshot is read again.
        kept.versions = Versions(kept.versions.agent, after.thread)

    def forget(self, conversation_id: str) -> None:
        """Drop a window."""
        gone = self._kept.pop(conversation_id, None)
        if gone is not None:
            self._held -= len(gone.messages)

    def _keep(self, conversation_id: str, window: Window) -> None:
        self.forget(conversation_id)
        self._kept[conversation_id] = window
        self._held += len(window.messages)
        while len(self._kept) > 1 and (len(self._kept) > _MAX_WINDOWS or self._held > _MAX_MESSAGES):
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest.messages)


def _load(connection: Connection, agent_id: str, conversation_id: str, with_messages: bool) -> Window:
    snapshot = agents.snapshot(connection, agent_id, conversation_id)
    window = Window(snapshot, Versions(snapshot.version, snapshot.thread.version))
    if with_messages:
        window.messages = in_window(connection, snapshot.thread)
    return window


def in_window(connection: Connection, thread: Thread) -> list[Message]:
    """What a model is shown: the summary of older messages, then everything from the window's start."""
    tail = messages.from_position(connection, thread, thread.window_start)
    shown = [m for m in tail if not (m.is_err or is_prompt(m) or m.role is Role.SUMMARY)]
    if thread.summary_message_id is not None:
        shown.insert(0, messages.get(connection, thread.summary_message_id))
    return shown


def is_prompt(message: Message) -> bool:
    """Whether this is the place of the compiled system prompt, which is made anew for each request."""
    return message.role is Role.SYSTEM and bool((message.data or {}).get("compiled"))
