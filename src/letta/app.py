"""The composition root: settings in, a running server out. The only place that wires the parts together."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from letta.api import (
    agents,
    archives,
    batches,
    blocks,
    composio,
    conversations,
    errors,
    groups,
    health,
    identities,
    mcp_servers,
    mcp_servers_by_name,
    messages,
    metrics,
    models,
    openapi,
    passages,
    preview,
    providers,
    routes,
    runs,
    schedules,
    search,
    steps,
    tags,
    time_travel,
    tools,
    unbuilt,
)
from letta.api.context import Server
from letta.api.gateway import App, Gateway
from letta.api.providers import keep_current, load_byok
from letta.errors import InvalidRequest
from letta.memory.indexing import Indexer
from letta.memory.recall import Recall
from letta.memory.window import Windows
from letta.models.discovery import from_environment, local_servers
from letta.models.embeddings import Embeddings
from letta.models.minilm import weights
from letta.models.protocol import Model
from letta.models.registry import Registry
from letta.models.scripted import ScriptedModel
from letta.runtime import tracing
from letta.runtime.batches import Batches
from letta.runtime.callbacks import Callbacks
from letta.runtime.creation import Agents
from letta.runtime.expiry import Expiry
from letta.runtime.following import Following
from letta.runtime.groups import Groups
from letta.runtime.loop import Means
from letta.runtime.numbers import Numbers
from letta.runtime.observe import Observer, Observers, timed
from letta.runtime.runner import Runner
from letta.runtime.schedules import Schedules
from letta.runtime.sleeptime import Sleeptime
from letta.runtime.talk import Talk
from letta.schemas.tools import ToolType
from letta.settings import Settings, is_loopback
from letta.store import group_talk
from letta.store.access import Database
from letta.store.database import SQLiteDatabase, open_database, parse_url
from letta.store.lock import lock_database
from letta.store.notices import Notices
from letta.store.vault import open_vault
from letta.tools import builtin
from letta.tools.code import CodeCalls
from letta.tools.composio import Composio
from letta.tools.context import ErrandRunner
from letta.tools.custom import CustomTools
from letta.tools.door import Door
from letta.tools.fetch_webpage import FETCH_WEBPAGE, Webpages
from letta.tools.mcp.servers import Limits, ToolServers
from letta.tools.searches import Searches
from letta.tools.web_search import WEB_SEARCH, WebSearch
from letta.version import __version__

log = logging.getLogger(__name__)

ROUTERS: tuple[routes.Router, ...] = (
    health.router,
    metrics.router,
    agents.router,
    batches.router,
    messages.router,
    conversations.router,
    preview.router,
    groups.router,
    blocks.router,
    archives.router,
    passages.router,
    search.router,
    mcp_servers.router,
    mcp_servers_by_name.router,
    composio.router,
    tools.router,
    runs.router,
    schedules.router,
    steps.router,
    time_travel.router,
    models.router,
    providers.router,
    identities.router,
    tags.router,
    unbuilt.router,
)


async def open_server(
    settings: Settings, environment: Mapping[str, str], scripted: Model | None = None, door: Door | None = None
) -> Server:
    """Open the database, find the providers and start to work on runs. Close it with `close_server`.

    `environment` is where providers are looked for. `scripted` stands in for the built-in model (tests). `door` is
    how tools written in code reach the API.

    Raises:
        letta.errors.Conflict: another process has the SQLite file open.
        letta.errors.InvalidRequest: unusable settings, or a database of a newer version.
        letta.errors.StoreUnavailable: the database does not answer.
    """
    if not settings.execute and parse_url(settings.resolved_database_url).drivername == "sqlite":
        raise InvalidRequest(
            "execute: a server that does not work on runs needs workers on the same PostgreSQL; a SQLite file has room "
            "for one process only"
        )
    async with AsyncExitStack() as undo:
        held = lock_database(settings.resolved_database_url)
        if held is not None:
            undo.callback(held.release)
        database = await open_database(
            settings.resolved_database_url,
            synchronous=settings.sqlite_synchronous,
            pool=settings.database_pool,
            pooler=settings.database_pooler,
            patience=settings.database_patience,
        )
        undo.push_async_callback(database.close)
        await database.write(builtin.install)
        passphrase = settings.encryption_key.get_secret_value() if settings.encryption_key else None
        vault = await asyncio.to_thread(open_vault, settings.data_dir, passphrase)
        found, hints = from_environment(environment)
        for hint in hints:
            log.debug("%s", hint)
        registry = Registry(
            found,
            scripted=scripted or ScriptedModel(latency=settings.scripted_latency, record=0),
            scripted_handles=settings.scripted_models,
            default=settings.default_model,
            read_seconds=settings.model_timeout,
        )
        registry.set_byok(await load_byok(database, vault))
        local = await asyncio.to_thread(weights.find, settings.embedding_weights, environment)
        embeddings = Embeddings(registry, local)
        default_embedding = settings.default_embedding or _free_embedding(registry, embeddings)
        recall, indexer = Recall(database, embeddings), Indexer(database, embeddings)
        custom = CustomTools(settings, environment, door)
        code = CodeCalls(database, vault, custom)
        mcp = ToolServers(database, vault, Limits(settings.private_urls_allowed, settings.mcp_stdio_allowed))
        composio_tools = Composio(database, vault, environment)
        private = settings.private_urls_allowed
        others: dict[str, ErrandRunner] = {
            ToolType.EXTERNAL_COMPOSIO: composio_tools.run,
            WEB_SEARCH: WebSearch(database, vault, environment, allow_private=private).run,
            FETCH_WEBPAGE: Webpages(allow_private=private).run,
            **Searches(database, recall).runners(),
        }
        notices = database.notices(settings.notify_url)
        undo.push_async_callback(notices.close)
        await notices.open()
        numbers = Numbers()
        observer = Observers([numbers, *([tracing.spans()] if settings.otel else ())])
        runner, talking = _runner(settings, database, registry, code, mcp, others, notices, observer)
        if isinstance(database, SQLiteDatabase):
            await database.write(group_talk.release_all)
        await runner.open()
        following = Following(database, runner, notices, settings.stream_retention)
        following.start()
        upkeep: tuple[asyncio.Task[None], ...] = ()
        if not notices.alone:
            reloading = keep_current(database, vault, registry, notices)
            upkeep = (asyncio.create_task(reloading, name="providers"),)
        scheduled = Schedules(database, runner.look, alone=notices.alone)
        scheduled.start()
        numbers.start()
        callbacks = _callbacks(settings, database)
        runner.afterwards.hooks.append(callbacks.after_run)
        callbacks.start()
        expiry = Expiry(database, settings.approval_timeout)
        expiry.start()
        indexer.start()
        undo.pop_all()
    made = Agents(database, registry, vault, default_embedding)
    return Server(
        settings,
        database,
        vault,
        registry,
        runner,
        notices,
        following,
        scheduled,
        Batches(database, registry, runner),
        numbers,
        observer,
        made,
        talking,
        mcp,
        custom,
        code,
        composio_tools,
        embeddings,
        recall,
        indexer,
        default_embedding,
        expiry,
        callbacks,
        held,
        upkeep,
    )


def _free_embedding(registry: Registry, embeddings: Embeddings) -> str | None:
    """The local model, where no provider was set up that might be meant instead."""
    if embeddings.local_handle is None:
        log.info("No local embedding model was found: memory is searched by words only (see docs/memory.md)")
    return None if registry.providers() else embeddings.local_handle


def _callbacks(settings: Settings, database: Database) -> Callbacks:
    return Callbacks(
        database,
        secret=settings.callback_secret.get_secret_value() if settings.callback_secret else None,
        attempts=settings.callback_attempts,
        allow_private=settings.private_urls_allowed,
    )


def _runner(
    settings: Settings,
    database: Database,
    registry: Registry,
    code: CodeCalls,
    mcp: ToolServers,
    others: Mapping[str, ErrandRunner],
    notices: Notices,
    observer: Observer,
) -> tuple[Runner, Groups]:
    runners: dict[str, ErrandRunner] = {
        ToolType.CUSTOM: code.run,
        ToolType.LETTA_BUILTIN: code.run,
        ToolType.EXTERNAL_MCP: mcp.run,
        **others,
    }
    means = Means(
        database,
        registry,
        Windows(database),
        settings.max_steps,
        settings.keep_traces,
        runners=runners,
        observer=observer,
    )
    runner = Runner(
        means,
        alone=isinstance(database, SQLiteDatabase),
        grace=settings.shutdown_grace,
        execute=settings.execute,
        slots=settings.queue_slots,
        notices=notices,
    )
    # Some tools need the runner, which needs the tools: they are added once both are there.
    talking = Groups(database, runner, Talk(database, runner))
    runners[ToolType.LETTA_MULTI_AGENT_CORE] = talking.run
    runners.update({name: timed(tool_runner, observer) for name, tool_runner in runners.items()})
    code.runners = runners
    runner.afterwards.hooks += [talking.after_run, Sleeptime(database, runner).after_run]
    return runner, talking


async def close_server(server: Server) -> None:
    """Finish or park what runs, then close everything."""
    await server.schedules.stop()
    await server.numbers.stop()
    await server.callbacks.stop()
    await server.expiry.stop()
    await server.runner.close()
    await server.following.stop()
    for task in server.upkeep:
        task.cancel()
    await asyncio.gather(*server.upkeep, return_exceptions=True)
    await server.notices.close()
    await server.groups.close()
    await server.indexer.stop()
    await server.embeddings.aclose()
    await server.custom.aclose()
    await server.mcp.aclose()
    await server.registry.aclose()
    await server.database.close()
    await asyncio.to_thread(server.observer.close)
    if server.lock is not None:
        server.lock.release()


async def _look_around(server: Server) -> None:
    """Find model servers on this machine, and read the lists of models before anybody asks."""
    if server.settings.discover_local:
        server.registry.add(await local_servers())
    server.registry.warm()


def create_app(
    settings: Settings, environment: Mapping[str, str] | None = None, scripted: Model | None = None
) -> FastAPI:
    """The ASGI application. Its lifespan opens and closes the server; nothing happens before."""
    surroundings = os.environ if environment is None else environment

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server = await open_server(settings, surroundings, scripted, _door(app, settings))
        app.state.server = server
        background = asyncio.create_task(_look_around(server))
        try:
            yield
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
            await close_server(server)

    app = FastAPI(
        title="open-letta",
        version=__version__,
        summary="A server for stateful agents, compatible with the Letta V1 API",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    errors.install(app)
    routes.mount(app, ROUTERS)
    openapi.describe(app)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials="*" not in settings.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "x-should-retry"],
    )
    return app


def behind_gateway(app: FastAPI, settings: Settings, *, listening: bool = False) -> App:
    """The application as it is served: with the password and the older path forms in front.

    `listening` says that it is reached over the network and not in process.
    """
    password = settings.server_password.get_secret_value() if settings.server_password else None
    return Gateway(
        app,
        password,
        metrics_public=settings.metrics_public,
        own_names_only=listening and password is None and is_loopback(settings.host),
    )


def _door(app: FastAPI, settings: Settings) -> Door:
    """The way of tools to this application, which needs no port."""
    password = settings.server_password.get_secret_value() if settings.server_password else None
    return Door(behind_gateway(app, settings), password)


def data_dir_of(settings: Settings) -> Path:
    return settings.data_dir
