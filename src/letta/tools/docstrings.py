"""What a docstring says of a function and of each of its parameters, in Google, NumPy or reST style.

Pure text: which style it is follows from the headings and fields it has. Whatever is in none of them is description.
"""

import inspect
import re
from dataclasses import dataclass, field

_GOOGLE_ARGUMENTS = re.compile(
    r"^(args|arguments|parameters|params|keyword args|keyword arguments):\s*$", re.IGNORECASE
)
_GOOGLE_SECTION = re.compile(
    r"^(args|arguments|parameters|params|keyword args|keyword arguments|returns?|yields?|raises|examples?|notes?|"
    r"see also|attributes|warnings?|references|todo):\s*$",
    re.IGNORECASE,
)
_GOOGLE_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\(([^()]*(?:\([^()]*\))?[^()]*)\))?\s*:\s*(.*)$")
_NUMPY_PARAMETER = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::(.*))?$")
_REST_FIELD = re.compile(r"^:(\w+)(?:\s+([^:]*?))?:\s*(.*)$")
_REST_PARAMETERS = frozenset({"param", "parameter", "arg", "argument", "key", "keyword"})


@dataclass(slots=True)
class Documented:
    """The description (first paragraphs, as written), and of parameters the descriptions, each on one line, and types.

    `types` holds what is written as the type, whatever that is; parameters without one are not in it.
    """

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def parse(docstring: str | None) -> Documented:
    """What a docstring documents; nothing for None."""
    lines = inspect.cleandoc(docstring or "").split("\n")
    if any(_REST_FIELD.match(line) for line in lines):
        return _rest(lines)
    if any(_underlined(lines, at) for at in range(len(lines))):
        return _numpy(lines)
    return _google(lines)


def _google(lines: list[str]) -> Documented:
    found, at = Documented(), 0
    description: list[str] = []
    while at < len(lines):
        heading = lines[at].strip()
        if not _GOOGLE_SECTION.match(heading):
            description.append(lines[at])
            at += 1
            continue
        at += 1
        start = at
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith((" ", "\t"))):
            at += 1
        if _GOOGLE_ARGUMENTS.match(heading):
            _google_parameters(lines[start:at], found)
    found.description = "\n".join(description).strip()
    return found


def _google_parameters(lines: list[str], found: Documented) -> None:
    """`name (type): text`, with further lines of the text indented more deeply."""
    depth = min((_indent(line) for line in lines if line.strip()), default=0)
    texts: dict[str, list[str]] = {}
    name = None
    for line in lines:
        match = _GOOGLE_PARAMETER.match(line.strip()) if line.strip() and _indent(line) == depth else None
        if match:
            name = match[1]
            texts[name] = [match[3]]
            if match[2]:
                found.types[name] = match[2].strip()
        elif name is not None:
            texts[name].append(line)
    found.parameters |= {name: _joined(text) for name, text in texts.items()}


def _numpy(lines: list[str]) -> Documented:
    starts = [at for at in range(len(lines)) if _underlined(lines, at)]
    found = Documented("\n".join(lines[: starts[0]]).strip())
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if lines[start].strip().lower() in ("parameters", "other parameters", "args", "arguments"):
            _numpy_parameters(lines[start + 2 : end], found)
    return found


def _numpy_parameters(lines: list[str], found: Documented) -> None:
    """`name : type`, and the text below it, indented. Several names may share one type and text."""
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    for line in lines:
        match = _NUMPY_PARAMETER.match(line) if line.strip() and _indent(line) == 0 else None
        if match:
            names = [name.strip() for name in match[1].split(",")]
            texts |= {name: [] for name in names}
            if match[2] and match[2].strip():
                found.types |= dict.fromkeys(names, match[2].strip())
        else:
            for name in names:
                texts[name].append(line)
    found.parameters |= {name: _joined(text) for name, text in texts.items()}


def _rest(lines: list[str]) -> Documented:
    description: list[str] = []
    texts: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    current: list[str] | None = None
    in_fields = False
    for line in lines:
        match = _REST_FIELD.match(line)
        if match:
            in_fields, current = True, None
            # `:param name: text` and `:param type name: text`
            words = (match[2] or "").split()
            if match[1] in _REST_PARAMETERS and words:
                current = texts.setdefault(words[-1].lstrip("*"), [])
                current.append(match[3])
                if words[:-1]:
                    types[words[-1].lstrip("*")] = " ".join(words[:-1])
            elif match[1] == "type" and words:
                types[words[-1].lstrip("*")] = match[3].strip()
        elif not in_fields:
            description.append(line)
        elif current is not None:
            current.append(line)
    return Documented("\n".join(description).strip(), {name: _joined(text) for name, text in texts.items()}, types)


def _underlined(lines: list[str], at: int) -> bool:
    below = lines[at + 1].strip() if at + 1 < len(lines) else ""
    return bool(lines[at].strip()) and len(below) >= 3 and set(below) == {"-"}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
