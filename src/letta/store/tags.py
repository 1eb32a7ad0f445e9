"""The tags of agents, as one list of names."""

from sqlalchemy import Connection, select

from letta.store.query import Order, like
from letta.store.tables import agent_tags


def list_page(
    connection: Connection,
    *,
    containing: str | None = None,
    order: Order = "asc",
    after: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[str]:
    """One page of the tags that agents have, each once, by name.

    `after` and `before` are tags, in the asked order; they need not be in use any more. With only `before`, the page
    nearest to it is taken. `containing` finds parts of names, upper or lower case.
    """
    tag = agent_tags.c.tag
    query = select(tag).distinct()
    if containing is not None:
        query = query.where(tag.ilike(like(containing), escape="\\"))
    for cursor, forward in ((after, True), (before, False)):
        if cursor is not None:
            query = query.where(tag > cursor if forward == (order == "asc") else tag < cursor)
    backwards = before is not None and after is None
    query = query.order_by(tag.asc() if (order == "asc") != backwards else tag.desc()).limit(limit)
    found = list(connection.execute(query).scalars())
    return found[::-1] if backwards else found
