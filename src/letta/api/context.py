"""What every route may use: the parts of the running server, the caller's paging, the forms of ids.

Routes parse, call and return. They receive the parts through `Parts`, which `letta.app` puts on the application.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic_core import to_json

from letta.memory.indexing import Indexer
from letta.memory.recall import Recall
from letta.models.embeddings import Embeddings
from letta.models.registry import Registry
from letta.runtime.batches import Batches
from letta.runtime.callbacks import Callbacks
from letta.runtime.creation import Agents
from letta.runtime.expiry import Expiry
from letta.runtime.following import Following
from letta.runtime.groups import Groups
from letta.runtime.numbers import Numbers
from letta.runtime.observe import Observer
from letta.runtime.runner import Runner
from letta.runtime.schedules import Schedules
from letta.schemas.common import Prefix, id_pattern
from letta.settings import Settings
from letta.store.access import Database
from letta.store.lock import FileLock
from letta.store.notices import Notices
from letta.store.vault import Vault
from letta.tools.code import CodeCalls
from letta.tools.composio import Composio
from letta.tools.custom import CustomTools
from letta.tools.mcp.servers import ToolServers


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of one running server."""

    settings: Settings
    database: Database
    vault: Vault
    registry: Registry
    runner: Runner
    notices: Notices
    following: Following
    schedules: Schedules
    batches: Batches
    numbers: Numbers
    observer: Observer
    agents: Agents
    groups: Groups
    mcp: ToolServers
    custom: CustomTools
    code: CodeCalls
    composio: Composio
    embeddings: Embeddings
    recall: Recall
    indexer: Indexer
    default_embedding: str | None
    expiry: Expiry
    callbacks: Callbacks
    lock: FileLock | None = None
    upkeep: tuple[asyncio.Task[None], ...] = ()


async def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


Parts = Annotated[Server, Depends(_server)]


def _path_id(prefix: Prefix) -> Any:
    return Path(pattern=id_pattern(prefix), description=f"`{prefix}-` and a lower-case UUID4")


AgentId = Annotated[str, _path_id(Prefix.AGENT)]
ArchiveId = Annotated[str, _path_id(Prefix.ARCHIVE)]
PassageId = Annotated[str, _path_id(Prefix.PASSAGE)]
BlockId = Annotated[str, _path_id(Prefix.BLOCK)]
ToolId = Annotated[str, _path_id(Prefix.TOOL)]
McpServerId = Annotated[str, _path_id(Prefix.MCP_SERVER)]
IdentityId = Annotated[str, _path_id(Prefix.IDENTITY)]
MessageId = Annotated[str, _path_id(Prefix.MESSAGE)]
ProviderId = Annotated[str, _path_id(Prefix.PROVIDER)]
StepId = Annotated[str, _path_id(Prefix.STEP)]
RunId = Annotated[str, Path(pattern="^run-[0-9a-fA-F-]{1,60}$")]

Order = Literal["asc", "desc"]
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """The page a caller asked for."""

    after: str | None
    before: str | None
    limit: int
    order: Order
    sort: str

    def arguments(self) -> dict[str, Any]:
        """As `letta.store.query.rows` takes them."""
        return {
            "after": self.after,
            "before": self.before,
            "limit": self.limit,
            "order": self.order,
            "sort": self.sort,
        }


def paging(
    limit: int = 50, order: Order = "desc", sorts: tuple[str, ...] = ("created_at",)
) -> Callable[..., Awaitable[Page]]:
    """A dependency that reads paging parameters, with a list's own defaults.

    `ascending` and `sort_by` are the older names of `order` and `order_by`; the newer ones win.
    """
    default_order, names = order, "^(" + "|".join(sorts) + ")$"

    async def read(
        after: Annotated[str | None, Query(description="Id of the last item of the page before")] = None,
        before: Annotated[str | None, Query(description="Id of the first item of the page after")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = limit,
        order: Annotated[Order | None, Query()] = None,
        order_by: Annotated[str | None, Query(pattern=names)] = None,
        ascending: Annotated[bool | None, Query(deprecated=True)] = None,
        sort_by: Annotated[str | None, Query(pattern=names, deprecated=True)] = None,
    ) -> Page:
        older: Order = default_order if ascending is None else "asc" if ascending else "desc"
        return Page(after or None, before or None, limit, order or older, order_by or sort_by or sorts[0])

    return read


Paging = Annotated[Page, Depends(paging())]


def reply(value: Any, status: int = 200) -> Response:
    """A JSON answer made straight from models: not validated a second time, null fields included."""
    return Response(to_json(value, by_alias=True), status, media_type="application/json")
