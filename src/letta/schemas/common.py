"""What every schema shares: base classes, ids, times, and the bounds of numbers.

Knows the form of ids, times and JSON bodies. Knows no noun of the API, no database and no HTTP.
"""

import math
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

JsonObject = dict[str, Any]

MAX_JSON_DEPTH = 100
INT32_MAX = 2**31 - 1
INT64_MIN, UINT64_MAX = -(2**63), 2**64 - 1

UUID4_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class Prefix(StrEnum):
    """What the id of each kind of thing begins with. Folders carry `source-` ids, as they always did."""

    AGENT = "agent"
    AGENT_VARIABLE = "agent-env"
    ARCHIVE = "archive"
    BLOCK = "block"
    CONVERSATION = "conv"
    FILE = "file"
    FILE_AGENT = "file_agent"
    FOLDER = "source"
    GROUP = "group"
    IDENTITY = "identity"
    JOB = "job"
    MCP_OAUTH = "mcp-oauth"
    MCP_SERVER = "mcp_server"
    MESSAGE = "message"
    MODEL = "model"
    ORGANIZATION = "org"
    PASSAGE = "passage"
    PING = "ping"
    PROVIDER = "provider"
    PROVIDER_TRACE = "provider_trace"
    RUN = "run"
    SANDBOX = "sandbox"
    SANDBOX_VARIABLE = "sandbox-env"
    STEP = "step"
    TOOL = "tool"
    TOOL_RULE = "tool_rule"
    USER = "user"


DEFAULT_USER_ID = "user-00000000-0000-4000-8000-000000000000"
DEFAULT_ORGANIZATION_ID = "org-00000000-0000-4000-8000-000000000000"


def new_id(prefix: str) -> str:
    """A fresh `<prefix>-<uuid4>` in lower case."""
    return f"{prefix}-{uuid4()}"


def id_pattern(prefix: str) -> str:
    """The regular expression that a whole id with this prefix matches."""
    return f"^{prefix}-{UUID4_PATTERN}$"


class ListOrder(StrEnum):
    """The direction of a list."""

    ASC = "asc"
    DESC = "desc"


def utc(value: datetime) -> datetime:
    """The same moment in UTC; a time without a zone is taken to be UTC.

    Raises ValueError for a moment that is before year 1 or after year 9999 in UTC.
    """
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value.isoformat()} is out of range in UTC") from error


def iso(value: datetime) -> str:
    """`2026-01-31T12:00:00.000000Z`: always microseconds, always `Z`, so that times sort as text."""
    return utc(value).isoformat(timespec="microseconds")[:-6] + "Z"


Timestamp = Annotated[datetime, AfterValidator(utc), PlainSerializer(iso, return_type=str, when_used="json")]

UNLESS_SET: Any = Field(default=None, exclude_if=lambda value: value is None)
"""The default of an own field of an answer: None, and then it is not sent, as if it did not exist."""

Count = Annotated[int, Field(ge=0, le=INT32_MAX)]
"""A whole number of zero or more, within what every database column holds."""

Size = Annotated[int, Field(ge=1, le=INT32_MAX)]
"""A whole number of one or more, within what every database column holds."""


class Wire(BaseModel):
    """Anything that crosses the wire. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, serialize_by_alias=True, protected_namespaces=())


M = TypeVar("M", bound=BaseModel)


def stored(model: type[M], values: dict[str, Any]) -> M:
    """A model from values that come from the database, by field name: they were checked when they were written.

    Fields without a value get their default. As `model_construct`, which looks at every field each time: of a page of
    agents that was a third of the work.
    """
    made = model.__new__(model)
    object.__setattr__(made, "__dict__", {**_defaults(model), **values})
    object.__setattr__(made, "__pydantic_fields_set__", set(values))
    object.__setattr__(made, "__pydantic_extra__", None)
    if model.__pydantic_post_init__:
        made.model_post_init(None)  # which makes the private attributes
    else:
        object.__setattr__(made, "__pydantic_private__", None)
    return made


@cache
def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults that instances may share; a field whose default is made anew each time must be given a value."""
    return {
        name: field.default
        for name, field in model.model_fields.items()
        if not field.is_required() and field.default_factory is None
    }


def storable(value: Any, depth: int = 0) -> Any:
    """The JSON value as every database can keep it: NUL characters are removed from texts and keys.

    Raises ValueError for what is no JSON or fits no database: half surrogate pairs, NaN and infinity, whole numbers
    of more than 64 bits, and values nested deeper than MAX_JSON_DEPTH.
    """
    if isinstance(value, str):
        return _storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
    if isinstance(value, int) and not INT64_MIN <= value <= UINT64_MAX:
        raise ValueError("a whole number does not fit in 64 bits")
    if isinstance(value, dict | list):
        if depth >= MAX_JSON_DEPTH:
            raise ValueError(f"nested more than {MAX_JSON_DEPTH} levels deep")
        if isinstance(value, list):
            return [storable(item, depth + 1) for item in value]
        return {
            _storable_text(key) if isinstance(key, str) else key: storable(v, depth + 1) for key, v in value.items()
        }
    return value


def _storable_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"half of a surrogate pair at character {error.start}: not valid Unicode") from error
    return text.replace("\x00", "") if "\x00" in text else text


def _field(name: Any, value: Any) -> Any:
    try:
        return storable(value, depth=1)
    except ValueError as error:
        raise ValueError(f"{name!a}: {error}") from error


class Body(Wire):
    """A request body: whatever passes it can be stored (see `storable`).

    A null for a field in `never_null` counts as absent, because there is nothing to clear it to.
    """

    never_null: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _cleaned(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            key: _field(key, value) for key, value in data.items() if value is not None or key not in cls.never_null
        }


class Patch(Body):
    """A body of changes: absent keeps, null clears; `model_fields_set` tells the two apart."""

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, by name, as validated values."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
