"""Forks share what was said before them, whatever is said, forked or compacted afterwards, and cost the same always."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event
from tests.store.seeds import a_message, an_agent, at

from letta.errors import NotFound
from letta.schemas.common import new_id
from letta.schemas.messages import ApprovalPart, Role, ToolCallPart, ToolReturnPart
from letta.store import conversations, forks, lineage, messages, search
from letta.store.access import Database
from letta.store.conversations import Thread
from letta.store.pieces import MESSAGE
from letta.store.search import Wanted

Operation = tuple[Literal["say", "fork", "fork at", "compact", "reset"], int, int]
OPERATIONS: st.SearchStrategy[list[Operation]] = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "fork", "fork at", "fork at", "compact", "reset"]),
        st.integers(0, 9),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=25,
)


@dataclass
class Told:
    """What a conversation ought to be: the ids of its messages by position, and how its window came about."""

    id: str
    said: list[str]
    start: int = 0
    summary: str | None = None
    summaries: list[tuple[int, str, int]] = field(default_factory=list)

    def window(self) -> list[str]:
        """The messages the model sees: the summary first, then everything from the start that is no summary."""
        made = {summary for _, summary, _ in self.summaries}
        tail = [one for one in self.said[max(1, self.start) :] if one not in made]
        return [*([self.summary] if self.summary else []), *tail]

    def fork(self, fork_id: str, position: int) -> "Told":
        known = [one for one in self.summaries if one[0] <= position]
        start, summary = self.start, self.summary
        if position < self.start - 1:
            start, summary = (known[-1][2], known[-1][1]) if known else (0, None)
        return Told(fork_id, self.said[: position + 1], start, summary, known)


def begun(connection: Connection, agent_id: str, **values: Any) -> str:
    conversation_id = new_id("conv")
    conversations.start(connection, conversation_id, agent_id, next_position=1, **values)
    prompt = a_message(
        connection, agent_id, 0, conversation_id=conversation_id, role=Role.SYSTEM, data={"compiled": True}
    )
    assert prompt.position == 0
    return conversation_id


def say(connection: Connection, conversation_id: str, text: str = "hello", *parts: Any, **values: Any) -> str:
    """Store one more message. Answers its id."""
    agent_id = conversations.thread(connection, conversation_id).agent_id
    position = conversations.advance(connection, conversation_id, 1, at(0)) - 1
    message = a_message(
        connection, agent_id, position, text, *parts, conversation_id=conversation_id, created_at=at(position), **values
    )
    search.index(connection, [message])
    return message.id


def compact(connection: Connection, conversation_id: str, start: int) -> str:
    summary = say(connection, conversation_id, "Before.", role=Role.SUMMARY, data={"window_start": start})
    conversations.move_window(connection, conversation_id, start, summary)
    return summary


def forked(connection: Connection, source: str, message_id: str | None = None, **values: Any) -> str:
    fork_id = new_id("conv")
    forks.fork(connection, source, fork_id, message_id=message_id, **values)
    return fork_id


def listed(connection: Connection, conversation_id: str, **paging: Any) -> list[str]:
    page = messages.conversation_page(connection, conversation_id, cursor_order="list", **paging)
    return [message.id for message in page]


def walked(connection: Connection, conversation_id: str, order: Literal["asc", "desc"], limit: int) -> list[str]:
    """The whole list, page by page, as the official client reads it."""
    found: list[str] = []
    after = None
    while page := listed(connection, conversation_id, order=order, limit=limit, after=after):
        found += page
        after = page[-1]
    return found


def window(connection: Connection, thread: Thread) -> list[str]:
    """What letta.memory.window shows a model, from the same reads."""
    tail = messages.from_position(connection, thread, max(1, thread.window_start))
    shown = [message.id for message in tail if message.role is not Role.SUMMARY]
    return [*([thread.summary_message_id] if thread.summary_message_id else []), *shown]


def play(connection: Connection, operations: list[Operation]) -> list[Told]:
    """Carry out operations in the store and on what ought to be."""
    agent_id = an_agent(connection)
    first = begun(connection, agent_id)
    say(connection, first)
    told = [Told(first, listed(connection, first, order="asc"))]
    for name, which, number in operations:
        one = told[which % len(told)]
        position = number % len(one.said)
        match name:
            case "say":
                one.said.append(say(connection, one.id))
            case "fork":
                told.append(one.fork(forked(connection, one.id), len(one.said) - 1))
            case "fork at" if position > 0:
                told.append(one.fork(forked(connection, one.id, one.said[position]), position))
            case "compact" if position > max(1, one.start):
                one.start, one.summary = position, compact(connection, one.id, position)
                one.summaries.append((len(one.said), one.summary, position))
                one.said.append(one.summary)
            case "reset":
                one.start, one.summary = len(one.said), None
                conversations.move_window(connection, one.id, one.start, None)
    return told


def holds(connection: Connection, one: Told, limit: int) -> None:
    thread = conversations.thread(connection, one.id)
    assert walked(connection, one.id, "asc", limit) == one.said
    assert walked(connection, one.id, "desc", limit) == one.said[::-1]
    assert listed(connection, one.id, order="asc", limit=None) == one.said
    assert window(connection, thread) == one.window()
    seen = messages.ids_in_window(connection, thread)
    assert seen[0] == one.said[0]
    assert set(one.window()) <= set(seen) <= set(one.said) | {one.summary}
    line = lineage.segments(connection, thread)
    assert sum(segment.last - segment.first + 1 for segment in line[1:]) == line[0].first
    assert [part.first for part in line[:-1]] == [part.last + 1 for part in line[1:]]
    owned = [messages.get(connection, message_id).conversation_id for message_id in one.said]
    assert owned == [lineage.owner_of(line, position) for position in range(len(one.said))]


async def test_every_tree_of_forks_reads_as_if_all_had_been_copied(database: Database) -> None:
    def check(connection: Connection) -> None:
        @settings(
            max_examples=40,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(OPERATIONS, st.integers(1, 4))
        def tree(operations: list[Operation], limit: int) -> None:
            for one in play(connection, operations):
                holds(connection, one, limit)

        tree()

    await database.write(check)


async def test_fork_of_a_fork_searches_what_it_shares_and_nothing_else(database: Database) -> None:
    def check(connection: Connection) -> None:
        agent_id = an_agent(connection)
        first = begun(connection, agent_id)
        shared = say(connection, first, "cinnamon one")
        second = forked(connection, first)
        later = say(connection, first, "cinnamon two")
        middle = say(connection, second, "cinnamon three")
        third = forked(connection, second)
        own = say(connection, third, "cinnamon four")
        other = say(connection, second, "cinnamon five")

        def found(thread: str) -> set[str]:
            wanted = Wanted(MESSAGE, "cinnamon", (agent_id,), mode="fts", thread=thread)
            return {candidate.item_id for candidate in search.look(connection, wanted).words}

        assert found(first) == {shared, later}
        assert found(second) == {shared, middle, other}
        assert found(third) == {shared, middle, own}

    await database.write(check)


async def test_long_chain_of_forks_is_read_whole(database: Database) -> None:
    def check(connection: Connection) -> None:
        current = begun(connection, an_agent(connection))
        said = listed(connection, current)
        for _ in range(1_100):
            said.append(say(connection, current))
            current = forked(connection, current)
        thread = conversations.thread(connection, current)
        assert listed(connection, current, order="asc", limit=None) == said
        assert listed(connection, current, limit=3) == said[:-4:-1]
        assert messages.ids_in_window(connection, thread) == said
        wanted = Wanted(MESSAGE, "hello", (thread.agent_id,), mode="fts", thread=current, limit=5)
        assert len(search.look(connection, wanted).words) == wanted.pool

    await database.write(check)


async def test_fork_of_an_unused_fork_hangs_on_the_first(database: Database) -> None:
    def check(connection: Connection) -> None:
        first = begun(connection, an_agent(connection))
        say(connection, first)
        second = forked(connection, first)
        third = forked(connection, second)
        empty = forked(connection, forked(connection, begun(connection, an_agent(connection))))
        assert conversations.thread(connection, third).parent_id == first
        assert conversations.thread(connection, empty).parent_id is None
        assert conversations.thread(connection, empty).next_position == 1

    await database.write(check)


async def test_fork_keeps_settings_and_gets_copies_of_its_own_for_copies(database: Database) -> None:
    def check(connection: Connection) -> None:
        agent_id = an_agent(connection)
        given_settings = {"provider_type": "openai", "temperature": 0.5}
        source = begun(
            connection, agent_id, summary="s", description="d", model="letta/scripted", model_settings=given_settings,
            context_window_limit=7000,
        )  # fmt: skip
        shown, thread = conversations.get(connection, forked(connection, source, hidden=True))
        assert (shown.summary, shown.description, shown.model, shown.context_window_limit, shown.hidden) == (
            "s", "d", "letta/scripted", 7000, True,
        )  # fmt: skip
        assert thread.model_settings == given_settings

    await database.write(check)


async def test_calls_stay_with_their_results_and_waiting_ones_wait_in_the_fork(database: Database) -> None:
    def check(connection: Connection) -> None:
        agent_id = an_agent(connection)
        source = begun(connection, agent_id)
        asked = say(connection, source)
        call = ToolCallPart(id="call-1", name="look", arguments="{}")
        calling = say(connection, source, "", call, role=Role.ASSISTANT, step_id="step-1")
        result = say(
            connection, source, "", ToolReturnPart(tool_call_id="call-1", name="look", content="x"), role=Role.TOOL
        )
        held = ToolCallPart(id="call-2", name="look", arguments="{}", pending=True)
        waiting = say(connection, source, "", held, role=Role.ASSISTANT, step_id="step-2")
        conversations.set_pending(connection, source, waiting)

        def fork(message_id: str | None) -> tuple[str, str | None]:
            thread = conversations.thread(connection, forked(connection, source, message_id))
            return listed(connection, thread.id, limit=1)[0], thread.pending_message_id

        assert fork(asked) == (asked, None)
        assert fork(calling) == (result, None)
        assert fork(result) == (result, None)
        assert fork(waiting) == fork(None) == (waiting, waiting)
        answered = say(connection, source, "", ApprovalPart(tool_call_id="call-2", approve=True), role=Role.APPROVAL)
        conversations.set_pending(connection, source, None)
        done = say(
            connection, source, "", ToolReturnPart(tool_call_id="call-2", name="look", content="y"), role=Role.TOOL
        )
        assert fork(waiting) == (waiting, waiting)
        assert fork(answered) == fork(None) == (done, None)

    await database.write(check)


async def test_fork_of_an_agent_that_forgets_each_turn_begins_with_an_empty_window(database: Database) -> None:
    def check(connection: Connection) -> None:
        source = begun(connection, an_agent(connection, message_buffer_autoclear=True))
        early = say(connection, source)
        say(connection, source)
        conversations.move_window(connection, source, 3, None)
        say(connection, source)
        conversations.move_window(connection, source, 4, None)
        thread = conversations.thread(connection, forked(connection, source, early))
        assert window(connection, thread) == []

    await database.write(check)


async def test_cursor_beyond_the_fork_and_unknown_message_are_not_found(database: Database) -> None:
    def check(connection: Connection) -> None:
        first = begun(connection, an_agent(connection))
        say(connection, first)
        second = forked(connection, first)
        later = say(connection, first)
        with pytest.raises(NotFound, match=later):
            listed(connection, second, after=later)
        with pytest.raises(NotFound, match=later):
            forked(connection, second, later)
        with pytest.raises(NotFound, match="conv-none"):
            forked(connection, "conv-none")

    await database.write(check)


@pytest.mark.parametrize("early", [False, True])
async def test_fork_takes_as_many_statements_after_a_long_history_as_after_a_short_one(
    database: Database, early: bool
) -> None:
    def count(connection: Connection, length: int) -> list[str]:
        source = begun(connection, an_agent(connection))
        said = [say(connection, source) for _ in range(length)]
        compact(connection, source, length - 2)
        seen: list[str] = []

        def executed(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            seen.append(statement)

        event.listen(connection, "before_cursor_execute", executed)
        forked(connection, source, said[1] if early else None)
        event.remove(connection, "before_cursor_execute", executed)
        return seen

    short, long = await database.write(count, 20), await database.write(count, 500)
    assert short == long
    assert len(long) <= (8 if early else 4)
