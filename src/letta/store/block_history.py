"""The versions of memory blocks: read, compared, and walked with undo, redo and revert.

Every version is kept. Its `state` is the version whose text it shows, its `parent` the one that text was edited from:
undo shows the parent of what is shown, redo the newest text that was edited from it. Knows nothing of who may walk.
"""

import difflib
from typing import Any

from sqlalchemy import Connection, func, select

from letta.errors import Conflict, NotFound
from letta.schemas.blocks import Block, BlockAction, BlockDiff, BlockVersion
from letta.store import blocks
from letta.store.blocks import USER, VERSIONED, Author
from letta.store.tables import block_versions


def versions(connection: Connection, block_id: str, *, limit: int, before: int | None) -> list[BlockVersion]:
    """Versions, newest first; `before` is a version number. Raises letta.errors.NotFound."""
    blocks.get(connection, block_id)
    query = select(block_versions).where(block_versions.c.block_id == block_id)
    if before is not None:
        query = query.where(block_versions.c.version < before)
    found = connection.execute(query.order_by(block_versions.c.version.desc()).limit(limit))
    return [BlockVersion.model_validate(row._asdict()) for row in found]


def version(connection: Connection, block_id: str, number: int) -> BlockVersion:
    """Raises letta.errors.NotFound."""
    return BlockVersion.model_validate(_version(connection, block_id, number)._asdict())


def diff(connection: Connection, block_id: str, old: int, new: int) -> BlockDiff:
    """A unified diff of the values of two versions. Raises letta.errors.NotFound."""
    before, after = _version(connection, block_id, old), _version(connection, block_id, new)
    lines = difflib.unified_diff(
        before.value.splitlines(), after.value.splitlines(), f"version {old}", f"version {new}", lineterm=""
    )
    return BlockDiff(from_version=old, to_version=new, diff="\n".join(lines))


def undo(connection: Connection, block_id: str, author: Author = USER) -> Block:
    """Show the text the current one was edited from, as a new version.

    Raises letta.errors.NotFound, and letta.errors.Conflict at the first text.
    """
    row = blocks.lock(connection, block_id)
    shown = _version(connection, block_id, blocks.head(connection, block_id).state)
    if shown.parent is None:
        raise Conflict(f"block {block_id} is at its first version: there is nothing to undo")
    return _show(connection, row, shown.parent, BlockAction.UNDO, author)


def redo(connection: Connection, block_id: str, author: Author = USER) -> Block:
    """Take the last undo back.

    Raises letta.errors.NotFound, and letta.errors.Conflict when nothing was undone since the last edit.
    """
    row = blocks.lock(connection, block_id)
    state = blocks.head(connection, block_id).state
    edited_from_it = block_versions.c.block_id == block_id, block_versions.c.parent == state
    child = connection.execute(select(func.max(block_versions.c.version)).where(*edited_from_it)).scalar()
    if child is None:
        raise Conflict(f"block {block_id}: there is nothing to redo")
    return _show(connection, row, child, BlockAction.REDO, author)


def revert(connection: Connection, block_id: str, number: int, author: Author = USER) -> Block:
    """Write the text of an older version again; undo takes this back. Raises letta.errors.NotFound."""
    row = blocks.lock(connection, block_id)
    old, state = _version(connection, block_id, number), blocks.head(connection, block_id).state
    return _write(connection, row, old, BlockAction.REVERT, state=row.version + 1, parent=state, author=author)


def _show(connection: Connection, row: Any, state: int, action: BlockAction, author: Author) -> Block:
    target = _version(connection, row.id, state)
    return _write(connection, row, target, action, state=state, parent=None, author=author)


def _write(
    connection: Connection,
    row: Any,
    source: Any,
    action: BlockAction,
    *,
    state: int,
    parent: int | None,
    author: Author,
) -> Block:
    values, number = {key: getattr(source, key) for key in VERSIONED}, row.version + 1
    blocks.add_version(connection, row.id, number, values, action, state=state, parent=parent, author=author)
    return blocks.write(connection, row, {**values, "version": number})


def _version(connection: Connection, block_id: str, number: int) -> Any:
    query = select(block_versions).where(block_versions.c.block_id == block_id, block_versions.c.version == number)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"block {block_id} has no version {number}")
    return row
