"""Tags: `/v1/tags`."""

from typing import Annotated, Any

from fastapi import Depends, Query

from letta.api import routes
from letta.api.context import Page, Parts, paging, reply
from letta.store import tags

router = routes.router(prefix="/v1/tags", tags=["tags"])

Tags = Annotated[Page, Depends(paging(order="asc", sorts=("name",)))]


@router.get("", response_model=list[str])
async def list_tags(
    parts: Parts,
    page: Tags,
    name: Annotated[str | None, Query(description="A part of the tag")] = None,
    query_text: Annotated[str | None, Query(deprecated=True, description="The older name of `name`")] = None,
) -> Any:
    """The tags of agents by name. `after` and `before` are tags."""
    arguments = page.arguments()
    arguments.pop("sort")
    return reply(await parts.database.read(tags.list_page, containing=name or query_text, **arguments))
