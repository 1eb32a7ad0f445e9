"""What was shown of a run comes back as it was, however it was cut into pieces and stored."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.store.seeds import START, an_agent

from letta.models.protocol import ReasoningDelta, TextDelta, ToolCallDelta
from letta.runtime.events import Delta
from letta.runtime.recording import Record, decoded, encoded, message_ids
from letta.schemas.messages import Message, Role
from letta.store import run_events
from letta.store.access import Database
from letta.store.database import open_database
from letta.store.runs import Work

TEXT = st.text(max_size=12)
PIECES = st.one_of(
    st.builds(TextDelta, TEXT),
    st.builds(ReasoningDelta, TEXT, st.none() | TEXT),
    st.builds(ToolCallDelta, st.integers(0, 3), st.none() | TEXT, st.none() | TEXT, TEXT),
)
DATES = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
NAMES = st.frozensets(st.sampled_from(["look", "send", 'quoted "name"']))
MESSAGES = st.tuples(st.uuids().map(str), TEXT, DATES, st.sampled_from(["native", "heartbeat"]), NAMES)


@st.composite
def shown(draw: st.DrawFn) -> list[Delta]:
    """Pieces of a few messages, one message after the other."""
    deltas = []
    for message_id, step_id, date, style, held in draw(st.lists(MESSAGES, max_size=4)):
        for piece in draw(st.lists(PIECES, min_size=1, max_size=6)):
            deltas.append(Delta(message_id, step_id, date, style, piece, held))  # noqa: PERF401 - two draws
    return deltas


@given(shown())
def test_pieces_come_back_as_they_were(deltas: list[Delta]) -> None:
    data = encoded(deltas)
    back = decoded(data, {})
    assert [
        (one.message_id, one.step_id, one.style, one.piece, one.held) for one in back if isinstance(one, Delta)
    ] == [(one.message_id, one.step_id, one.style, one.piece, one.held) for one in deltas]
    late = timedelta(milliseconds=1)
    assert all(
        abs(one.date - delta.date) < late for one, delta in zip(back, deltas, strict=True) if isinstance(one, Delta)
    )
    assert message_ids(data) == []


def a_piece(number: int) -> Delta:
    return Delta("message-1", "step-1", START, "native", TextDelta(str(number)))


async def test_what_is_stored_is_what_was_shown_in_order_and_without_gaps(tmp_path: Path) -> None:
    database: Database = await open_database(f"sqlite:///{tmp_path / 'letta.db'}", synchronous="OFF")
    agent_id = await database.write(an_agent)
    record = Record(Work("run-1", agent_id, agent_id, {}, False, 1, START))
    message = Message(
        id="message-1", role=Role.ASSISTANT, parts=[], agent_id=agent_id, conversation_id=agent_id, created_at=START
    )
    for number in range(3):
        record.note(a_piece(number))
    assert await record.flush(database)
    assert not await record.flush(database)
    record.note(a_piece(3))
    async with record.committing():
        await database.write(record.write, [message], "message-1")
        # Once more, as after a transaction whose end was not heard.
        await database.write(record.write, [message], "message-1")
    record.note(a_piece(4))
    await record.flush(database)
    stored = await database.read(run_events.after, "run-1", 1, 0, 10)
    await database.close()
    events = [event for batch in stored for event in decoded(batch.data, {"message-1": message})]
    assert [batch.seq for batch in stored] == [0, 3, 4, 5]
    assert [getattr(event, "piece", None) for event in events] == [
        *(TextDelta(str(number)) for number in range(4)),
        None,
        TextDelta("4"),
    ]
    assert [getattr(event, "streamed", None) for event in events if not isinstance(event, Delta)] == ["message-1"]
    assert message_ids(stored[2].data) == ["message-1"]
