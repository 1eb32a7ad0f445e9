"""Identities: the people and organisations of the application that uses the server. Knows no accounts and no rights."""

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from letta.schemas.common import Body, JsonObject, Patch, Wire


class IdentityType(StrEnum):
    """Whom an identity stands for."""

    ORG = "org"
    USER = "user"
    OTHER = "other"


class IdentityProperty(Wire):
    """A typed fact about an identity. Raises a validation error where the value is not of the type."""

    key: str
    value: StrictStr | StrictBool | StrictInt | StrictFloat | JsonObject
    type: Literal["string", "number", "boolean", "json"]

    @model_validator(mode="after")
    def _value_is_of_type(self) -> "IdentityProperty":
        kinds = {"string": str, "number": int | float, "boolean": bool, "json": dict}
        fits = isinstance(self.value, kinds[self.type]) and (self.type == "boolean") == isinstance(self.value, bool)
        if not fits:
            raise ValueError(f"value of property {self.key!r} is not a {self.type}")
        return self


class Identity(Wire):
    """An identity and the agents and blocks that belong to it."""

    id: str
    identifier_key: str
    name: str
    identity_type: IdentityType
    project_id: str | None = None
    agent_ids: list[str]
    block_ids: list[str]
    properties: list[IdentityProperty] | None = None


class CreateIdentity(Body):
    """An identity to make; `identifier_key` is the application's own key for it."""

    identifier_key: str
    name: str
    identity_type: IdentityType
    project_id: str | None = None
    agent_ids: list[str] | None = None
    block_ids: list[str] | None = None
    properties: list[IdentityProperty] | None = None


class UpsertIdentity(CreateIdentity):
    """An identity to make, or to bring to this form where `identifier_key` is known."""


class UpdateIdentity(Patch):
    """Changes to an identity."""

    never_null: ClassVar[frozenset[str]] = frozenset(
        {"identifier_key", "name", "identity_type", "agent_ids", "block_ids", "properties"}
    )

    identifier_key: str | None = None
    name: str | None = None
    identity_type: IdentityType | None = None
    agent_ids: list[str] | None = None
    block_ids: list[str] | None = None
    properties: list[IdentityProperty] | None = None
