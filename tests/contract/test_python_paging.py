"""The newest Python SDK pages through every list by itself: each item once, and an end."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from letta_client import Letta, NotFoundError

MODEL = "openai/gpt-4o-mini"
Listing = Callable[..., Any]
STEPS = [{"call": "memory_insert", "args": {"label": "a", "new_string": str(number)}} for number in range(3)]
NAMES = (
    "agents",
    "agents.blocks",
    "agents.messages",
    "agents.tools",
    "blocks",
    "blocks.agents",
    "runs",
    "runs.messages",
    "runs.steps",
    "steps",
    "steps.messages",
    "tools",
)
# The cursors of these are in time whatever the order, as V1's: its scripts poll with `after`. One agent's messages also
# come oldest first whatever the order.
CURSORS_IN_TIME = {"agents.messages", "runs.messages"}


@pytest.fixture(scope="module")
def listings(client: Letta) -> dict[str, Listing]:
    """Every list with something to page through: a function that takes paging parameters."""
    mark = str(uuid4())
    shared = client.blocks.create(label="shared", value="x")
    agents = [client.agents.create(model=MODEL, tags=[mark], block_ids=[shared.id]) for _ in range(5)]
    agent = agents[0].id
    for label in "abcd":
        client.agents.blocks.attach(client.blocks.create(label=label, value=mark).id, agent_id=agent)
    for tool in list(client.tools.list())[:5]:
        client.agents.tools.attach(tool.id, agent_id=agent)
    for number in range(4):
        client.agents.messages.create(agent, input=f"echo {number}")
    run = (client.agents.messages.create(agent, input=f"!script {json.dumps([*STEPS, 'done'])}").usage.run_ids or [])[0]
    step = next(iter(client.runs.steps.list(run, order="asc"))).id

    def of(method: Callable[..., Any], *ids: str, **filters: Any) -> Listing:
        return lambda **paging: method(*ids, **filters, **paging)

    return {
        "agents": of(client.agents.list, tags=[mark]),
        "agents.blocks": of(client.agents.blocks.list, agent),
        "agents.messages": of(client.agents.messages.list, agent),
        "agents.tools": of(client.agents.tools.list, agent),
        "blocks": of(client.blocks.list, value_search=mark),
        "blocks.agents": of(client.blocks.agents.list, shared.id),
        "runs": of(client.runs.list, agent_id=agent),
        "runs.messages": of(client.runs.messages.list, run),
        "runs.steps": of(client.runs.steps.list, run),
        "steps": of(client.steps.list, agent_id=agent),
        "steps.messages": of(client.steps.messages.list, step),
        "tools": of(client.tools.list),
    }


def ids(items: Any) -> list[str]:
    return [item.id for item in items]


def test_every_list_of_the_client_is_here(listings: dict[str, Listing]) -> None:
    assert tuple(listings) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_iterator_meets_each_item_once_and_ends(listings: dict[str, Listing], name: str) -> None:
    listing = listings[name]
    whole = ids(listing(limit=1000, order="asc").items)
    assert len(whole) == len(set(whole)) > 2
    assert ids(listing(limit=2, order="asc")) == whole
    assert ids(listing(limit=1, order="asc")) == whole
    if name not in CURSORS_IN_TIME:
        assert ids(listing(limit=2, order="desc")) == whole[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_iterator_walks_back_from_before(listings: dict[str, Listing], name: str) -> None:
    listing = listings[name]
    whole = ids(listing(limit=1000, order="asc").items)
    page = listing(limit=2, order="asc", before=whole[-1])
    assert ids(page.items) == whole[-3:-1]
    assert sorted(ids(page)) == sorted(whole[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_page_after_the_last_item_is_empty(listings: dict[str, Listing], name: str) -> None:
    listing = listings[name]
    whole = ids(listing(limit=1000, order="asc").items)
    assert ids(listing(order="asc", after=whole[-1])) == []
    assert ids(listing(order="asc", before=whole[0])) == []


@pytest.mark.parametrize("name", NAMES)
def test_unknown_cursor_is_refused_because_an_ignored_one_never_ends(listings: dict[str, Listing], name: str) -> None:
    for cursor in ("after", "before"):
        with pytest.raises(NotFoundError) as refused:
            listings[name](**{cursor: f"agent-{uuid4()}"})
        assert "cursor" in str(refused.value.body) or "not found" in str(refused.value.body)


def test_messages_of_an_agent_are_oldest_first_whatever_the_order(listings: dict[str, Listing]) -> None:
    whole = ids(listings["agents.messages"](limit=1000, order="asc").items)
    assert ids(listings["agents.messages"](limit=3, order="desc").items) == whole[-3:]
    assert ids(listings["agents.messages"](limit=3, order="desc", after=whole[2]).items) == whole[3:6]
    assert ids(listings["agents.messages"](limit=3, order="desc", before=whole[3]).items) == whole[:3]
    assert ids(listings["agents.messages"](limit=2, order="asc", after=whole[2]).items) == whole[3:5]
