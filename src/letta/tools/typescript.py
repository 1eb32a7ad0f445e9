"""Tools written in TypeScript or JavaScript: their schema, and the Node that runs them.

The schema is read from the signature of an exported function and its JSDoc comment. Understood are simple types,
arrays, unions, literals, records, object types, and interfaces and type aliases of the same source; what is not
understood allows anything.
"""

import asyncio
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letta.errors import InvalidRequest, ToolFailed
from letta.tools.schema_generation import Derived
from letta.tools.script_types import ScriptTypes, matching, split

RUNNER = Path(__file__).resolve().parent / "sandbox" / "runner.mjs"
STRIPPER = "sucrase@3.35.0"
"""The npm package that removes types, for versions of Node that cannot do it themselves (before 22.13)."""

_OLDEST, _STRIPS = (18, 0), (22, 13)
_FUNCTION = re.compile(
    r"export\s+(?:default\s+)?(?:async\s+)?function\s*\*?\s*(?P<name>[A-Za-z_$][\w$]*)\s*(?:<[^(]*>)?\s*(?P<open>\()"
    r"|export\s+const\s+(?P<constant>[A-Za-z_$][\w$]*)\s*(?::[^=]+)?=\s*(?:async\s*)?(?P<arrow>\()"
)
_COMMENT = re.compile(r"/\*\*(?P<text>(?:(?!\*/).)*)\*/\s*$", re.DOTALL)
_TAG = re.compile(r"^@(\w+)\s*(?:\{[^}]*\})?\s*(.*)$")
_PARAMETER = re.compile(
    r"^(?P<name>[A-Za-z_$][\w$]*)\s*(?P<optional>\?)?\s*(?::\s*(?P<type>.*?))?\s*(?:=(?!>)\s*(?P<default>.*))?$",
    re.DOTALL,
)
_DEFAULTS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js: where it is, and whether it removes types by itself."""

    path: Path
    version: tuple[int, int]

    @property
    def strips_types(self) -> bool:
        return self.version >= _STRIPS


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    type: str | None
    optional: bool
    default: str | None


async def node() -> Node:
    """The Node.js of this machine.

    Raises:
        letta.errors.ToolFailed: there is none, or one that is too old.
    """
    found = shutil.which("node")
    if found is None:
        raise ToolFailed("TypeScript tools need Node.js, and it is not installed on the server's machine (no `node`).")
    process = await asyncio.create_subprocess_exec(found, "--version", stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    match = re.match(rb"v(\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < _OLDEST:
        raise ToolFailed(
            f"TypeScript tools need Node.js 18 or newer; the server's is {said.decode().strip() or 'unknown'}."
        )
    return Node(await asyncio.to_thread(Path(found).resolve), version)


def command(program: Path, runner: Path, memory: int) -> tuple[str, ...]:
    """The command line of a call. `memory` is in bytes; two thirds of it are for JavaScript's own heap."""
    return (str(program), f"--max-old-space-size={(memory >> 20) * 2 // 3}", "--no-warnings", str(runner))


def derive(source: str, name: str | None = None) -> Derived:
    """The schema of an exported function: the one named, or the first.

    Raises:
        letta.errors.InvalidRequest: there is none, or its parameters cannot be told apart.
    """
    found = _exported(source, name)
    types = ScriptTypes(source)
    description, told = _documented(source[: found.start()])
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in _parameters(source, found):
        kind, allows_none = (
            types.schema(parameter.type) if parameter.type else (types.of_value(parameter.default), False)
        )
        text = told.get(parameter.name)
        default = _DEFAULTS.get(parameter.default or "")
        properties[parameter.name] = {
            **kind,
            **({"description": text} if text else {}),
            **({"default": default} if default is not None else {}),
        }
        if not (parameter.optional or allows_none or parameter.default is not None):
            required.append(parameter.name)
    schema = {
        "name": found["name"] or found["constant"],
        "description": description,
        "parameters": {"type": "object", "properties": properties, "required": required},
    }
    return Derived(schema, {})


def parameter_names(source: str, name: str | None) -> list[str]:
    """The function's parameters in order. Raises letta.errors.InvalidRequest like `derive`."""
    return [parameter.name for parameter in _parameters(source, _exported(source, name))]


def _exported(source: str, name: str | None) -> re.Match[str]:
    functions = list(_FUNCTION.finditer(source))
    names = [match["name"] or match["constant"] for match in functions]
    if name is None and functions:
        return functions[0]
    for match, found in zip(functions, names, strict=True):
        if found == name:
            return match
    raise InvalidRequest(
        f"source_code: it exports no function{f' called {name!r}' if name else ''} "
        f"(exported: {', '.join(names) or 'none'}); a TypeScript tool is an exported function with a name"
    )


def _parameters(source: str, found: re.Match[str]) -> list[_Parameter]:
    start = found.start("open") if found["name"] else found.start("arrow")
    line = source.count("\n", 0, start) + 1
    end = matching(source, start)
    if end is None:
        raise InvalidRequest(f"source_code: line {line}: the parameters have no end")
    made = []
    for text in split(source[start + 1 : end], ","):
        match = _PARAMETER.match(text)
        if match is None:
            raise InvalidRequest(
                f"source_code: line {line}: {text!r} is not a parameter with a name; name each parameter"
            )
        made.append(_Parameter(match["name"], match["type"], bool(match["optional"]), match["default"]))
    return made


def _documented(before: str) -> tuple[str, dict[str, str]]:
    """The description and the parameters' descriptions in the JSDoc comment that ends this text."""
    match = _COMMENT.search(before)
    if match is None:
        return "", {}
    description: list[str] = []
    told: dict[str, list[str]] = {}
    current: list[str] | None = description
    for line in (raw.strip().removeprefix("*").strip() for raw in match["text"].splitlines()):
        tag = _TAG.match(line)
        if tag is None:
            if current is not None:
                current.append(line)
        elif tag[1] in ("param", "arg", "argument"):
            name, _, text = tag[2].partition(" ")
            current = told.setdefault(name.strip("[]").partition("=")[0], [])
            current.append(text.strip().removeprefix("-").strip())
        else:
            current = None
    return "\n".join(description).strip(), {name: " ".join(" ".join(text).split()) for name, text in told.items()}
