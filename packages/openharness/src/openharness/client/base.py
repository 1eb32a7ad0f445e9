"""What every group of client methods builds on: a transport, paths, bodies and parsed answers."""

from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from openharness.transports import Transport, TransportError
from openharness.types import PaginatedResponse, PaginationParams

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class ApiMethods:
    """Methods that send requests over one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _one(self, model: type[M], verb: str, path: str, **parts: Any) -> M:
        return parsed(TypeAdapter(model), await self._transport.request(verb, path, **parts))

    async def _many(self, model: type[M], verb: str, path: str, **parts: Any) -> list[M]:
        many: TypeAdapter[list[M]] = TypeAdapter(list[model])  # type: ignore[valid-type] # a type made at run time
        return parsed(many, await self._transport.request(verb, path, **parts))

    async def _page(
        self, model: type[M], path: str, pagination: PaginationParams | None, **params: Any
    ) -> PaginatedResponse[M]:
        asked = {**(pagination.model_dump() if pagination else {}), **params}
        answer = await self._transport.request("GET", path, params=asked)
        page: TypeAdapter[PaginatedResponse[M]] = TypeAdapter(PaginatedResponse[model])  # type: ignore[valid-type]
        return parsed(page, answer)


def parsed(kind: TypeAdapter[T], answer: Any) -> T:
    """What the server said, as the API states it.

    Raises:
        TransportError: it has another shape; `body` is what was said.
    """
    try:
        return kind.validate_python(answer)
    except ValidationError as error:
        raise TransportError(f"The answer has not the shape the API states: {error}", body=answer) from error


def url_path(*segments: str) -> str:
    """Join path segments, quoting what is reserved in each.

    Raises:
        ValueError: a segment is empty, which would name another resource.
    """
    if not all(segments):
        raise ValueError(f"An id in /{'/'.join(segments)} is empty")
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def body(request: BaseModel) -> dict[str, Any]:
    """A request as JSON, by field name, without what is unset."""
    return request.model_dump(mode="json", exclude_none=True)
