"""`/v1/tags`."""

from typing import Any

import pytest
from tests.serving import Served


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["alpha", "beta", "gamma", "work"]),
        ({"limit": 2}, ["alpha", "beta"]),
        ({"limit": 2, "after": "beta"}, ["gamma", "work"]),
        ({"limit": 2, "before": "work"}, ["beta", "gamma"]),
        ({"order": "desc", "limit": 3}, ["work", "gamma", "beta"]),
        ({"order": "desc", "after": "beta"}, ["alpha"]),
        ({"name": "A", "order_by": "name"}, ["alpha", "beta", "gamma"]),
        ({"query_text": "or"}, ["work"]),
        ({"name": "nothing"}, []),
    ],
)
async def test_the_tags_of_agents_are_listed_once_by_name(
    served: Served, params: dict[str, Any], expected: list[str]
) -> None:
    await served.agent(tags=["work", "gamma", "alpha"])
    await served.agent(tags=["work", "beta"])
    assert (await served.http.get("/v1/tags/", params=params)).json() == expected


async def test_tags_cannot_be_ordered_by_anything_but_their_name(served: Served) -> None:
    answer = await served.http.get("/v1/tags/", params={"order_by": "created_at"})
    assert (answer.status_code, "order_by" in answer.json()["detail"]) == (422, True)
