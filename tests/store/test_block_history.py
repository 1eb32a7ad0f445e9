"""The history of blocks: every write is a version, and undo, redo and revert walk among them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from tests.store.seeds import a_block, an_agent

from letta.errors import Conflict, InvalidValue, NotFound
from letta.schemas.blocks import BlockDiff
from letta.store import block_history, blocks
from letta.store.access import Database
from letta.store.blocks import Author

Action = tuple[str, Any]
ACTIONS: st.SearchStrategy[list[Action]] = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.sampled_from(["one", "two", "three"])),
        st.tuples(st.just("undo"), st.none()),
        st.tuples(st.just("redo"), st.none()),
        st.tuples(st.just("revert"), st.integers(1, 8)),
    ),
    max_size=15,
)


class Editor:
    """What a text editor does: a stack of what was, a stack of what was undone, and a log of every text shown."""

    def __init__(self, text: str) -> None:
        self.past = [text]
        self.future: list[str] = []
        self.log = [text]

    def apply(self, action: str, argument: Any) -> bool:
        """Do it if it can be done; was it?"""
        match action:
            case "undo":
                possible = len(self.past) > 1
                if possible:
                    self.future.append(self.past.pop())
            case "redo":
                possible = bool(self.future)
                if possible:
                    self.past.append(self.future.pop())
            case "revert":
                possible = argument <= len(self.log)
                if possible:
                    self._write(self.log[argument - 1])
            case _:
                if argument == self.past[-1]:
                    return True
                possible = True
                self._write(argument)
        if possible:
            self.log.append(self.past[-1])
        return possible

    def _write(self, text: str) -> None:
        self.past.append(text)
        self.future.clear()


def perform(connection: Connection, block_id: str, action: str, argument: Any) -> bool:
    calls: dict[str, Callable[[], Any]] = {
        "edit": lambda: blocks.change(connection, block_id, {"value": argument}),
        "undo": lambda: block_history.undo(connection, block_id),
        "redo": lambda: block_history.redo(connection, block_id),
        "revert": lambda: block_history.revert(connection, block_id, argument),
    }
    try:
        calls[action]()
    except (Conflict, NotFound):
        return False
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
async def test_any_sequence_of_edits_undos_redos_and_reverts_behaves_like_an_editor(
    database: Database, actions: list[Action]
) -> None:
    def story(connection: Connection) -> None:
        editor = Editor("zero")
        block_id = a_block(connection, value="zero").id
        for action, argument in actions:
            assert perform(connection, block_id, action, argument) == editor.apply(action, argument)
            assert blocks.get(connection, block_id).value == editor.past[-1]
        history = block_history.versions(connection, block_id, limit=1000, before=None)
        assert [(one.version, one.value) for one in reversed(history)] == list(enumerate(editor.log, start=1))

    await database.write(story)


async def test_a_version_says_who_wrote_it_where_and_how(database: Database) -> None:
    author = Author("agent", "agent-1", "run-1", "step-1", "message-1")

    def story(connection: Connection) -> list[dict[str, Any]]:
        block = a_block(connection, value="old", description="Who", limit=10)
        blocks.change(connection, block.id, {"value": "new", "limit": 20}, author)
        found = block_history.versions(connection, block.id, limit=10, before=None)
        return [one.model_dump(exclude={"created_at"}) for one in found]

    same = {"label": "human", "description": "Who", "read_only": None}
    nobody = {"author_id": None, "run_id": None, "step_id": None, "message_id": None}
    assert await database.write(story) == [
        {
            "version": 2, "value": "new", "limit": 20, "action": "edit", "author_type": "agent",
            "author_id": "agent-1", "run_id": "run-1", "step_id": "step-1", "message_id": "message-1", **same,
        },
        {"version": 1, "value": "old", "limit": 10, "action": "create", "author_type": "user", **nobody, **same},
    ]  # fmt: skip


async def test_a_change_of_what_no_version_keeps_makes_no_version(database: Database) -> None:
    def story(connection: Connection) -> list[int]:
        block = a_block(connection)
        blocks.change(connection, block.id, {"read_only": True, "metadata": {"a": 1}, "tags": ["x"]})
        blocks.change(connection, block.id, {"value": block.value})
        return [one.version for one in block_history.versions(connection, block.id, limit=10, before=None)]

    assert await database.write(story) == [1]


async def test_versions_come_newest_first_in_pages_by_number(database: Database) -> None:
    def story(connection: Connection) -> tuple[list[int], list[int]]:
        block_id = a_block(connection, value="0").id
        for number in range(1, 5):
            blocks.change(connection, block_id, {"value": str(number)})
        first = block_history.versions(connection, block_id, limit=3, before=None)
        second = block_history.versions(connection, block_id, limit=3, before=first[-1].version)
        return [one.version for one in first], [one.version for one in second]

    assert await database.write(story) == ([5, 4, 3], [2, 1])


async def test_a_diff_shows_lines_that_went_and_came(database: Database) -> None:
    def story(connection: Connection) -> BlockDiff:
        block_id = a_block(connection, value="Name: Bob\nLikes: tea").id
        blocks.change(connection, block_id, {"value": "Name: Bob\nLikes: coffee"})
        return block_history.diff(connection, block_id, 1, 2)

    assert await database.write(story) == BlockDiff(
        from_version=1,
        to_version=2,
        diff="--- version 1\n+++ version 2\n@@ -1,2 +1,2 @@\n Name: Bob\n-Likes: tea\n+Likes: coffee",
    )


async def test_undo_brings_label_description_and_limit_back_too(database: Database) -> None:
    def story(connection: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
        block = a_block(connection, value="x", description="first", limit=10)
        blocks.change(connection, block.id, {"label": "other", "description": None, "limit": 99, "value": "y" * 50})
        return block.model_dump(), block_history.undo(connection, block.id).model_dump()

    before, after = await database.write(story)
    assert after == before


@pytest.mark.parametrize(("walk", "problem"), [("undo", "nothing to undo"), ("redo", "nothing to redo")])
async def test_there_is_nothing_to_walk_to_from_the_only_version(database: Database, walk: str, problem: str) -> None:
    block_id = (await database.write(a_block)).id
    with pytest.raises(Conflict, match=problem):
        await database.write(getattr(block_history, walk), block_id)


async def test_unknown_blocks_and_versions_are_not_found(database: Database) -> None:
    block_id = (await database.write(a_block)).id
    for call in (
        lambda connection: block_history.revert(connection, block_id, 7),
        lambda connection: block_history.version(connection, block_id, 7),
        lambda connection: block_history.diff(connection, block_id, 1, 7),
        lambda connection: block_history.undo(connection, "block-0"),
        lambda connection: block_history.redo(connection, "block-0"),
        lambda connection: block_history.versions(connection, "block-0", limit=1, before=None),
    ):
        with pytest.raises(NotFound):
            await database.write(call)


async def test_a_value_over_the_limit_changes_nothing(database: Database) -> None:
    block = await database.write(lambda connection: a_block(connection, value="short", limit=10))
    with pytest.raises(InvalidValue, match="would hold 11 characters, its limit is 10"):
        await database.write(blocks.change, block.id, {"value": "x" * 11, "tags": ["new"]})
    assert await database.read(blocks.get, block.id) == block


async def test_walking_to_a_label_another_block_of_an_agent_has_by_now_is_a_conflict(database: Database) -> None:
    def seed(connection: Connection) -> str:
        agent_id, block = an_agent(connection), a_block(connection, label="human")
        blocks.attach(connection, agent_id, block.id)
        blocks.change(connection, block.id, {"label": "person"})
        blocks.attach(connection, agent_id, a_block(connection, label="human").id)
        return block.id

    block_id = await database.write(seed)
    with pytest.raises(Conflict, match="another one labelled 'human'"):
        await database.write(block_history.undo, block_id)
    assert (await database.read(blocks.get, block_id)).label == "person"
