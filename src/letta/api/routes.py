"""The routes of this API: each is made ready when it is first asked for, and its answer is described, not checked.

Making all of them ready at the start would take a quarter of it. Handlers answer finished responses, so the models of
answers are only read when `/openapi.json` is asked for.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from fastapi.utils import create_model_field
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


class Route(APIRoute):
    """A route whose handler answers a Response; `response_model` says what is in it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], *, response_model: Any = None, **options: Any) -> None:
        super().__init__(path, endpoint, response_model=None, **options)
        self.response_model = None if isinstance(response_model, DefaultPlaceholder) else response_model
        # FastAPI sets it to None above, which would hide the property below.
        del self.response_field

    @cached_property
    def response_field(self) -> Any:  # type: ignore[override]  # made when it is first read
        """The model of the answer as FastAPI describes it."""
        if self.response_model is None:
            return None
        return create_model_field(name=f"Response_{self.unique_id}", type_=self.response_model, mode="serialization")


class Deferred(BaseRoute):
    """A route as it was declared. What FastAPI makes of it is `ready`, once somebody asks for its path."""

    def __init__(self, path: str, endpoint: Callable[..., Any], options: dict[str, Any]) -> None:
        self.path = path
        self.path_regex, self.path_format, _ = compile_path(path)
        self._endpoint = endpoint
        self._options = options

    @cached_property
    def ready(self) -> Route:
        return Route(self.path, self._endpoint, generate_unique_id_function=_operation_id, **self._options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and self.path_regex.match(scope["path"].removeprefix(scope.get("root_path", ""))):
            return self.ready.matches(scope)
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.ready.handle(scope, receive, send)


class Router:
    """Routes with what they have in common; the decorators take the options of fastapi.APIRouter's."""

    def __init__(
        self,
        prefix: str = "",
        *,
        tags: Sequence[str] = (),
        deprecated: bool | None = None,
        include_in_schema: bool = True,
    ) -> None:
        self.routes: list[Deferred] = []
        self._prefix = prefix
        self._common = {"tags": list(tags), "deprecated": deprecated, "include_in_schema": include_in_schema}

    def add(self, path: str, endpoint: Callable[..., Any], methods: Sequence[str], **options: Any) -> None:
        """Declare a route."""
        self.routes.append(
            Deferred(self._prefix + path, endpoint, {**self._common, "methods": list(methods), **options})
        )

    def get(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._decorator("GET", path, options)

    def post(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._decorator("POST", path, options)

    def put(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._decorator("PUT", path, options)

    def patch(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._decorator("PATCH", path, options)

    def delete(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        return self._decorator("DELETE", path, options)

    def _decorator(self, method: str, path: str, options: dict[str, Any]) -> Callable[[Handler], Handler]:
        def declare(endpoint: Handler) -> Handler:
            self.add(path, endpoint, [method], **options)
            return endpoint

        return declare


def router(prefix: str = "", **common: Any) -> Router:
    """A router; `common` as of Router."""
    return Router(prefix, **common)


def joined(*routers: Router) -> Router:
    """The routes of several routers in one."""
    whole = Router()
    whole.routes.extend(route for part in routers for route in part.routes)
    return whole


def mount(app: FastAPI, routers: Iterable[Router]) -> None:
    """Serve the routes. Including routers would build each route a second time at the first request."""
    app.router.routes.extend(route for part in routers for route in part.routes)


def make_ready(app: FastAPI) -> None:
    """Put what FastAPI makes of the routes in their places, so that it can describe them."""
    app.router.routes[:] = [route.ready if isinstance(route, Deferred) else route for route in app.router.routes]


def _operation_id(route: APIRoute) -> str:
    """The name of the function that answers: stable, and readable in generated clients."""
    return route.name
