"""Type annotations as JSON Schema, read from their syntax: nothing is imported or run.

Knows the builtin types, `typing` and `collections.abc`, and TypedDicts, dataclasses and enums the source itself
defines. Raises `Unknown` for what only running code can tell.
"""

import ast
import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_SIMPLE: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "NoneType": {"type": "null"},
    "list": {"type": "array", "items": {}},
    "tuple": {"type": "array", "items": {}},
    "set": {"type": "array", "items": {}, "uniqueItems": True},
    "frozenset": {"type": "array", "items": {}, "uniqueItems": True},
    "dict": {"type": "object"},
    "bytes": {"type": "string"},
    "Any": {},
    "object": {},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "UUID": {"type": "string", "format": "uuid"},
    "Path": {"type": "string"},
    "Decimal": {"type": "number"},
}
_SAME_AS = {
    "List": "list", "Sequence": "list", "MutableSequence": "list", "Iterable": "list", "Collection": "list",
    "Tuple": "tuple", "Set": "set", "AbstractSet": "set", "FrozenSet": "frozenset", "Dict": "dict", "Mapping": "dict",
    "MutableMapping": "dict", "Text": "str", "AnyStr": "str", "LiteralString": "str",
}  # fmt: skip
_WRAPPERS = ("Annotated", "Required", "NotRequired", "Final", "ReadOnly", "ClassVar", "InitVar")


_WORDS = {
    "string": "str", "strings": "str", "strs": "str", "integer": "int", "integers": "int", "ints": "int",
    "boolean": "bool", "booleans": "bool", "bools": "bool", "number": "float", "numbers": "float", "floats": "float",
    "dictionary": "dict", "dictionaries": "dict", "dicts": "dict", "array": "list", "lists": "list",
}  # fmt: skip
_ASIDE = re.compile(r",\s*(optional|required|default\b.*|by default\b.*|keyword.only)\s*$", re.IGNORECASE)
_LIST_OF = re.compile(r"\b(list|set|tuple|array|sequence|iterable)s? of (\w+)", re.IGNORECASE)


class Unknown(Exception):
    """An annotation that syntax alone does not explain. The text is the annotation."""


class Annotations:
    """The annotations of one module, with the classes and aliases it defines at its top."""

    def __init__(self, module: ast.Module) -> None:
        self._classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        self._aliases = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Subscript | ast.Name | ast.BinOp)
        }
        self._open: list[str] = []

    def schema(self, node: ast.expr) -> dict[str, Any]:
        """The JSON Schema of an annotation. Raises Unknown."""
        match node:
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str(text)):
                return self.schema(_parsed(text))
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._union([left, right])
            case ast.Subscript(value=value, slice=inner):
                return self._generic(_last_name(value), inner, node)
            case ast.Name() | ast.Attribute():
                return self._named(_last_name(node), node)
        raise Unknown(ast.unparse(node))

    def optional(self, node: ast.expr | None) -> bool:
        """Whether None is one of the values."""
        match node:
            case None:
                return False
            case ast.Constant(value=str(text)):
                return self.optional(_parsed(text))
            case ast.Constant(value=value):
                return value is None
            case ast.Name(id=name) if name in self._aliases and name not in self._open:
                return self._guarded(name, lambda: self.optional(self._aliases[name]))
            case ast.BinOp(left=left, right=right):
                return self.optional(left) or self.optional(right)
            case ast.Subscript(value=value, slice=inner):
                name = _last_name(value)
                members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return name == "Optional" or (name == "Union" and any(map(self.optional, members)))
        return False

    def _named(self, name: str, node: ast.expr) -> dict[str, Any]:
        if isinstance(node, ast.Name) and name in self._aliases:
            return self._guarded(name, lambda: self.schema(self._aliases[name]))
        if isinstance(node, ast.Name) and name in self._classes:
            return self._guarded(name, lambda: self._class(self._classes[name]))
        known = _SIMPLE.get(_SAME_AS.get(name, name))
        if known is None:
            raise Unknown(ast.unparse(node))
        return dict(known)

    def _guarded(self, name: str, make: Callable[[], T]) -> T:
        if name in self._open:
            raise Unknown(name)  # it refers to itself, which takes references between schemas
        self._open.append(name)
        try:
            return make()
        finally:
            self._open.pop()

    def _generic(self, name: str, inner: ast.expr, node: ast.expr) -> dict[str, Any]:
        members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        kind = _SAME_AS.get(name, name)
        if name == "Optional":
            return self.schema(inner)
        if name == "Union":
            return self._union(members)
        if name == "Literal":
            return _literal([value for member in members for value in self._literals(member)])
        if name in _WRAPPERS:
            made = self.schema(members[0])
            texts = [member.value for member in members[1:] if isinstance(member, ast.Constant)]
            told = next((text for text in texts if isinstance(text, str)), None)
            return {**made, "description": told} if told and name == "Annotated" else made
        if kind in ("list", "set", "frozenset"):
            return {**_SIMPLE[kind], "items": self.schema(members[0])}
        if kind == "tuple":
            return self._tuple(members)
        if kind == "dict" and len(members) == 2:
            values = self.schema(members[1])
            return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
        raise Unknown(ast.unparse(node))

    def _tuple(self, members: list[ast.expr]) -> dict[str, Any]:
        if isinstance(members[-1], ast.Constant) and members[-1].value is ...:
            return {"type": "array", "items": self.schema(members[0])}
        kinds = [self.schema(member) for member in members]
        items = kinds[0] if all(kind == kinds[0] for kind in kinds) else {"anyOf": kinds}
        return {"type": "array", "items": items, "minItems": len(kinds), "maxItems": len(kinds)}

    def _union(self, members: list[ast.expr]) -> dict[str, Any]:
        """Members without None; that is said by the parameter not being required."""
        kinds: list[dict[str, Any]] = []
        for member in members:
            kind = self.schema(member)
            for one in kind.get("anyOf", [kind]):
                if one != {"type": "null"} and one not in kinds:
                    kinds.append(one)
        if not kinds:
            return {"type": "null"}
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}

    def _literals(self, node: ast.expr) -> list[Any]:
        match node:
            case ast.Constant(value=value):
                return [value]
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
                return [-value]
        raise Unknown(ast.unparse(node))

    def _class(self, node: ast.ClassDef) -> dict[str, Any]:
        bases = [_last_name(base) for base in node.bases]
        decorators = [_last_name(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list]
        if "TypedDict" in bases and len(bases) == 1:
            return self._fields(node, total=not _says_false(node, "total"))
        if not bases and decorators == ["dataclass"]:
            return self._fields(node, total=True)
        if {"Enum", "StrEnum", "IntEnum"} & set(bases):
            values = [
                statement.value.value
                for statement in node.body
                if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
            ]
            if values:
                return _literal(values)
        raise Unknown(node.name)

    def _fields(self, node: ast.ClassDef, *, total: bool) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required: list[str] = []
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name, kind = statement.target.id, statement.annotation
                properties[name] = self.schema(kind)
                wrapper = _last_name(kind.value) if isinstance(kind, ast.Subscript) else ""
                if statement.value is None and wrapper != "NotRequired" and (total or wrapper == "Required"):
                    required.append(name)
        made: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
        told = ast.get_docstring(node)
        return {**made, "description": told} if told else made


def told(text: str) -> dict[str, Any] | None:
    """The JSON Schema of a type as a docstring words it (`int, optional`, `str or None`, `list of int`, `{"a", "b"}`).

    Answers None for what is none of the builtin types: a docstring is prose, and need not mean a type of the source.
    """
    text = _ASIDE.sub("", _ASIDE.sub("", text.strip()))
    if text.startswith("{") and text.endswith("}"):
        text = f"Literal[{text[1:-1]}]"
    else:
        text = _LIST_OF.sub(lambda match: f"{match[1].lower()}[{match[2]}]", text.replace(" or ", " | "))
        text = re.sub(r"[a-z]+", lambda match: _WORDS.get(match[0], match[0]), text)
    try:
        return Annotations(ast.Module([], [])).schema(_parsed(text))
    except (Unknown, ValueError, RecursionError, MemoryError):  # prose, or nested beyond reason
        return None


def _literal(values: list[Any]) -> dict[str, Any]:
    kinds = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "NoneType": "null"}
    types = {kinds.get(type(value).__name__) for value in values}
    made: dict[str, Any] = {"enum": values}
    return {"type": types.pop(), **made} if len(types) == 1 and None not in types else made


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last_name(value)
    return ""


def _says_false(node: ast.ClassDef, keyword: str) -> bool:
    return any(
        given.arg == keyword and isinstance(given.value, ast.Constant) and given.value.value is False
        for given in node.keywords
    )


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        raise Unknown(repr(text)) from None
