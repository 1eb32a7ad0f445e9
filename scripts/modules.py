"""The Python modules of this repository as syntax trees, and who imports whom.

Reads files and nothing else: no module is imported, so it works without an environment. Knows no rules; those are in
`tests/test_architecture.py`.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT / "src", ROOT / "packages/openharness/src", ROOT / "packages/openharness-letta/src")

_DOTTED = re.compile(r"([a-z_]\w*(?:\.\w+)+)(?::\w+)?")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One name that is imported. `target` is dotted and may name a module or something in it.

    `scope` is `module` for an import that runs with its module, `function` for one inside a function or class, and
    `string` for a dotted name that the module hands to `importlib`.
    """

    target: str
    line: int
    scope: str
    level: int = 0


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, and its source. `path` is only for people."""

    name: str
    source: str
    path: str = "<memory>"

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")

    @property
    def lines(self) -> int:
        return len(self.source.splitlines())

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import, wherever it stands; dotted strings count where the module calls `import_module`."""
        found = list(_statements(self.tree, "module"))
        if loads(self.tree):
            found += [
                Import(match[1], node.lineno, "string")
                for node in ast.walk(self.tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
                if (match := _DOTTED.fullmatch(node.value))
            ]
        return tuple(found)

    @cached_property
    def functions(self) -> tuple[tuple[str, int], ...]:
        """Functions and methods with their lines, decorators left out."""
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, Function))
        return tuple((node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes)


def loads(tree: ast.AST) -> list[int]:
    """The lines where modules are imported by a call."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) in ("import_module", "__import__")
    ]


def called(node: ast.Call) -> str | None:
    """The last part of the name of what is called."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def _statements(node: ast.AST, scope: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                for alias in child.names:
                    yield Import(alias.name, child.lineno, scope)
            case ast.ImportFrom():
                for alias in child.names:
                    yield Import(f"{child.module or ''}.{alias.name}", child.lineno, scope, child.level)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                yield from _statements(child, "function")
            case _:
                yield from _statements(child, scope)


def load(*folders: Path) -> dict[str, Module]:
    """The modules below source folders, by dotted name. Raises OSError, SyntaxError on use."""
    return {module.name: module for folder in folders for module in _read(folder)}


def _read(folder: Path) -> Iterator[Module]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield Module(name, path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def resolve(target: str, modules: Mapping[str, Module]) -> str | None:
    """The module that an imported name is, or is in; None for one of another distribution."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target or None


def graph(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Which modules each module imports, lazily or not. Imports for type checkers count."""
    edges: dict[str, set[str]] = {}
    for module in modules.values():
        reached = {resolve(found.target, modules) for found in module.imports}
        edges[module.name] = {name for name in reached if name is not None and name != module.name}
    return edges


def cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other, each sorted (the strongly connected parts with more than one)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in sorted(edges):
        _visit(start, edges, seen, order)
    backwards: dict[str, set[str]] = {name: set() for name in edges}
    for name, targets in edges.items():
        for target in targets:
            backwards[target].add(name)
    groups: list[list[str]] = []
    seen = set()
    for start in reversed(order):
        group: list[str] = []
        _visit(start, backwards, seen, group)
        if len(group) > 1:
            groups.append(sorted(group))
    return sorted(groups)


def _visit(start: str, edges: Mapping[str, set[str]], seen: set[str], left: list[str]) -> None:
    """Append everything new that is reached from `start` to `left`, in the order it is left again."""
    if start in seen:
        return
    seen.add(start)
    path = [(start, iter(sorted(edges[start])))]
    while path:
        name, targets = path[-1]
        target = next((target for target in targets if target not in seen), None)
        if target is None:
            left.append(name)
            path.pop()
        else:
            seen.add(target)
            path.append((target, iter(sorted(edges[target]))))
