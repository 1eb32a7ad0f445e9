"""TypeScript types as JSON Schema, as far as a look at their text can tell. Pure text."""

import json
import re
from typing import Any

_OPENING, _CLOSING = "([{<", ")]}>"
_SIMPLE: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "bigint": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "Date": {"type": "string", "format": "date-time"},
    "object": {"type": "object"},
}
_NOTHING = frozenset({"null", "undefined", "void"})
_DECLARED = re.compile(r"\binterface\s+(\w+)\s*(?:extends[^{]*)?(?=\{)|\btype\s+(\w+)\s*=\s*")
_MEMBER = re.compile(r"^(?:readonly\s+)?[\"']?([\w$]+)[\"']?\s*(\?)?\s*:\s*(.+)$", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_GENERIC = re.compile(r"^(\w+)\s*<(.*)>$", re.DOTALL)
_LISTS = frozenset({"Array", "ReadonlyArray", "Set", "Iterable"})


class ScriptTypes:
    """The types of one source, with the interfaces and aliases it declares."""

    def __init__(self, source: str) -> None:
        self._declared: dict[str, str] = {}
        for match in _DECLARED.finditer(source):
            text = _declaration(source, match.end())
            if text is not None:
                self._declared[match[1] or match[2]] = text
        self._open: list[str] = []

    def schema(self, text: str) -> tuple[dict[str, Any], bool]:
        """The schema of a type, and whether it allows null or undefined."""
        members = [member for member in split(text, "|") if member]
        kinds = [self._one(member) for member in members if member not in _NOTHING]
        allows_none = any(member in _NOTHING for member in members)
        literals = [kind["const"] for kind in kinds if "const" in kind]
        if literals and len(literals) == len(kinds):
            types = {type(value) for value in literals}
            name = "string" if types == {str} else "boolean" if types == {bool} else "number"
            return {"type": name, "enum": literals}, allows_none
        return (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {"type": "null"}), allows_none

    def of_value(self, text: str | None) -> dict[str, Any]:
        """The schema of a parameter that has only a default."""
        known = _literal(text.strip()) if text else None
        if known is None:
            return {}
        return {"type": "string" if isinstance(known, str) else "boolean" if isinstance(known, bool) else "number"}

    def _one(self, text: str) -> dict[str, Any]:
        if text.startswith("(") and matching(text, 0) == len(text) - 1:
            return self.schema(text[1:-1])[0]
        if text.endswith("[]"):
            return {"type": "array", "items": self.schema(text[:-2].strip())[0]}
        if text.startswith("{"):
            return self._object(text.strip()[1:-1])
        if (value := _literal(text)) is not None:
            return {"const": value}
        if match := _GENERIC.match(text):
            return self._generic(match[1], split(match[2], ","))
        if text in self._declared and text not in self._open:
            self._open.append(text)
            try:
                return self.schema(self._declared[text])[0]
            finally:
                self._open.pop()
        return dict(_SIMPLE.get(text, {}))

    def _generic(self, name: str, members: list[str]) -> dict[str, Any]:
        if name in _LISTS and members:
            return {"type": "array", "items": self.schema(members[0])[0]}
        if name in ("Record", "Map") and len(members) == 2:
            return {"type": "object", "additionalProperties": self.schema(members[1])[0]}
        if name in ("Readonly", "Promise", "Required") and members:
            return self.schema(members[0])[0]
        return {}

    def _object(self, text: str) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required: list[str] = []
        for member in [part for line in split(text, ";") for part in split(line, ",")]:
            for match in filter(None, (_MEMBER.match(line) for line in split(member, "\n"))):
                properties[match[1]], allows_none = self.schema(match[3].strip())
                if not (match[2] or allows_none):
                    required.append(match[1])
        return {"type": "object", "properties": properties, "required": required}


def split(text: str, separator: str) -> list[str]:
    """The parts between separators outside of brackets and quotes, trimmed, without comments and empty ones."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    parts, depth, quote, start = [], 0, "", 0
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'`":
            quote = sign
        elif sign in _OPENING:
            depth += 1
        elif sign in _CLOSING and text[at - 1 : at + 1] != "=>":
            depth -= 1
        elif sign == separator and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def matching(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed."""
    depth, quote = 0, ""
    for at in range(start, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote and text[at - 1] != "\\" else quote
        elif sign in "\"'`":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if depth == 0:
                return at
    return None


def _declaration(source: str, start: int) -> str | None:
    if source[start : start + 1] == "{":
        end = matching(source, start)
        return None if end is None else source[start : end + 1]
    end = min((at for at in (source.find(";", start), source.find("\n\n", start)) if at >= 0), default=len(source))
    return source[start:end].strip()


def _literal(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return json.loads(text) if _NUMBER.fullmatch(text) else None
