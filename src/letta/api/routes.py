"""The routes of this API: their answers are described, and checked nowhere.

Handlers answer finished responses, so the models of answers are only read when `/openapi.json` is asked for. Making
a validator of each at the start would take a tenth of it.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from fastapi.utils import create_model_field


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


def router(**options: Any) -> APIRouter:
    """A router of such routes; options as of fastapi.APIRouter."""
    return APIRouter(route_class=Route, generate_unique_id_function=_operation_id, **options)


def joined(*routers: APIRouter) -> APIRouter:
    """The routes of several routers in one."""
    whole = router()
    whole.routes.extend(route for part in routers for route in part.routes)
    return whole


def mount(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Serve the routes as they are: including routers would build each of them a second time at the first request."""
    app.router.routes.extend(route for part in routers for route in part.routes)


def _operation_id(route: APIRoute) -> str:
    """The name of the function that answers: stable, and readable in generated clients."""
    return route.name
