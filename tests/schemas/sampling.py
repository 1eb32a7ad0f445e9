"""Instances of any schema, made from its annotations: one minimal, and full ones that together use every alternative.

Knows pydantic models and the annotations our answers use. Knows nothing of what a field means.
"""

from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

MOMENT = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
PLAIN: dict[Any, Any] = {
    str: "https://example.test/text",
    int: 7,
    float: 0.5,
    bool: True,
    datetime: MOMENT,
    Any: {"any": ["thing"]},
}

Samples = dict[tuple[type[BaseModel], str], list[Any]]


def minimal(model: type[BaseModel], given: Samples) -> BaseModel:
    """An instance with the required fields only."""
    required = {name: field for name, field in model.model_fields.items() if field.is_required()}
    return model.model_validate({name: _choices(model, name, given, minimal_only=True)[0] for name in required})


def variants(model: type[BaseModel], given: Samples) -> list[BaseModel]:
    """Full instances: the first alternative everywhere, then one for each further alternative of each field."""
    fields = {name: _choices(model, name, given) for name in model.model_fields}
    first = {name: choices[0] for name, choices in fields.items()}
    others = [{**first, name: other} for name, choices in fields.items() for other in choices[1:]]
    return [model.model_validate(values) for values in [first, *others]]


def _choices(model: type[BaseModel], name: str, given: Samples, minimal_only: bool = False) -> list[Any]:
    if (model, name) in given:
        return given[(model, name)]
    return _alternatives(model.model_fields[name].annotation, given, minimal_only)


def _alternatives(annotation: Any, given: Samples, minimal_only: bool) -> list[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _alternatives(arguments[0], given, minimal_only)
    if origin in (Union, UnionType):
        return [
            value for kind in arguments if kind is not NoneType for value in _alternatives(kind, given, minimal_only)
        ]
    if origin is Literal:
        return list(arguments)
    if origin is list:
        return [[] if minimal_only else _alternatives(arguments[0], given, minimal_only)]
    if origin is dict:
        return [{} if minimal_only else {"key": _alternatives(arguments[1], given, minimal_only)[0]}]
    if annotation in (None, NoneType):
        return [None]
    if annotation in PLAIN:
        return [PLAIN[annotation]]
    if issubclass(annotation, Enum):
        return list(annotation)
    return [minimal(annotation, given)] if minimal_only else list(variants(annotation, given))
