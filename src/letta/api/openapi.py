"""What `/openapi.json` says beyond the routes themselves: error answers, streams, the password.

Documentation only: nothing here changes what a request does.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from letta.api import routes
from letta.schemas import wire_messages
from letta.schemas.failures import ConflictRefusal, InvalidRequest, ModelRefusal, Refusal

_REFERENCE = "#/components/schemas/{model}"
_VERBS = frozenset({"get", "post", "put", "patch", "delete"})

_ERRORS: dict[str, tuple[type[BaseModel], str]] = {
    "400": (Refusal, "The request makes no sense as it stands"),
    "404": (Refusal, "Something the request names does not exist"),
    "409": (ConflictRefusal, "The request conflicts with the state of things"),
    "422": (InvalidRequest, "A field has a value that cannot be accepted"),
    "501": (Refusal, "Part of the API that is not built yet"),
}
"""What a route may answer instead: status, body, when. """

_MODEL_FAILED = {"model": ModelRefusal, "description": "The model provider failed; the status and `type` say how"}
_EVENTS = {
    "schema": {"type": "string", "contentMediaType": "text/event-stream"},
    "example": 'data: {"message_type": "stop_reason", "stop_reason": "end_turn"}\n\ndata: [DONE]\n\n',
}

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer as server-sent events: a `Frame` in the `data:` of each, `data: [DONE]` at the end",
        "content": {"text/event-stream": _EVENTS},
    }
}
"""The responses of a route that streams."""

ANSWER: dict[int | str, dict[str, Any]] = {
    200: {**STREAM[200], "description": "The answer as JSON, or with `streaming` as server-sent events of `Frame`s"},
    **dict.fromkeys((400, 401, 402, 404, 429, 500, 502, 504), _MODEL_FAILED),
}
"""The responses of a route that waits for a model unless it streams."""

GONE: dict[int | str, dict[str, Any]] = {405: {"model": Refusal, "description": "Refused on purpose"}}
"""The response of a route that exists to say no."""


def describe(app: FastAPI) -> None:
    """Let the application's description also hold the errors, what a stream carries and how the password is sent."""
    describe_routes = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            routes.make_ready(app)
            _complete(describe_routes())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the description


def _complete(document: dict[str, Any]) -> None:
    components = document["components"]
    _loosen(document)
    # FastAPI's own form of a 422: ours has one text.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["schemas"].update(_schemas())
    components["responses"] = {
        status: {"description": text, "content": {"application/json": {"schema": _reference(model.__name__)}}}
        for status, (model, text) in _ERRORS.items()
    }
    components["securitySchemes"] = {"password": {"type": "http", "scheme": "bearer"}}
    # The password is optional: most servers listen on their own machine only and have none.
    document["security"] = [{}, {"password": []}]
    for path, methods in document["paths"].items():
        for method in methods.keys() & _VERBS:
            for status in _possible(path, method, methods[method]):
                responses = methods[method]["responses"]
                responses[status] = _either(responses.get(status), status)


def _loosen(node: Any) -> None:
    """Let a value fit several models of a choice that no field decides: settings of a model need not name whose."""
    if isinstance(node, list):
        for item in node:
            _loosen(item)
    elif isinstance(node, dict):
        if "oneOf" in node and "discriminator" not in node:
            node["anyOf"] = node.pop("oneOf")
        for value in node.values():
            _loosen(value)


def _possible(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """The errors an operation may answer, as far as its form tells."""
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    if operation.get("tags") != ["health"]:
        yield "400"
    if names or "requestBody" in operation:
        yield "422"
    if "{" in path or "after" in names or "requestBody" in operation:
        yield "404"
    if method != "get":
        yield "409"
    if method != "get" or names:
        yield "501"


def _either(declared: dict[str, Any] | None, status: str) -> dict[str, Any]:
    """A route's own refusal, or where it declares a model's failure with that status, either of the two."""
    if declared is None or declared["content"]["application/json"]["schema"] != _reference(ModelRefusal.__name__):
        return {"$ref": f"#/components/responses/{status}"}
    model, text = _ERRORS[status]
    both = {"anyOf": [_reference(model.__name__), _reference(ModelRefusal.__name__)]}
    return {"description": f"{text}, or the model provider failed", "content": {"application/json": {"schema": both}}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}


def _schemas() -> dict[str, Any]:
    """The schemas that no route mentions: errors, and what a stream carries besides messages."""
    models = [model for model, _ in _ERRORS.values()] + list(wire_messages.FRAMES)
    _, generated = models_json_schema([(model, "serialization") for model in models], ref_template=_REFERENCE)
    parts: dict[str, Any] = generated["$defs"]
    frame = TypeAdapter[Any](wire_messages.Frame).json_schema(mode="serialization", ref_template=_REFERENCE)
    del frame["$defs"]
    return {**parts, "Frame": {"title": "Frame", "description": "The `data:` of one server-sent event.", **frame}}
