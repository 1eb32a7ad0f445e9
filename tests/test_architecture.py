"""The architecture, checked on the syntax trees: who may import whom, and what no module may do.

Every rule is a function of modules that yields sentences about what breaks it. Each is run twice: over the repository,
where it must find nothing, and over a few lines written to break it, where it must find exactly that.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping

import pytest
from scripts.modules import SOURCES, Function, Module, cycles, graph, load, loads, resolve

Modules = Mapping[str, Module]
Rule = Callable[[Modules], Iterator[str]]

LAYERS = (
    "version", "errors", "schemas", "settings", "log", "store", "models", "memory", "tools", "runtime", "api", "app",
    "client", "", "cli",
)  # fmt: skip
"""The parts of `letta`, each importing only what stands to its left. The empty name is `letta` itself."""

DISTRIBUTIONS = {
    "letta": {"letta"},
    "openharness": {"openharness"},
    "openharness_letta": {"openharness_letta", "openharness", "letta_client"},
}
"""What each distribution imports of our three and of the official client."""

LAZY_LOADERS = {
    "letta": "the official client takes most of a second to import, and the server does not need it",
    "letta.models.kinds": "providers are loaded when the first of their handles is used",
    "letta.models.embeddings": "numpy takes a tenth of the start, and many servers never embed a text",
    "letta.models.minilm.engine": "as above; the weights are read with it",
    "letta.models.minilm.reader": "onnxruntime is an extra, and takes a third of a second to import",
    "letta.models.pydantic_ai.kinds": "provider libraries are large, and some are optional",
    "letta.store.comparing": "numpy, as above",
    "letta.store.database": "Alembic is needed on the first start and after an upgrade only",
    "letta.tools.custom": "the library that checks arguments takes a tenth of the start",
    "letta.tools.mcp.loader": "the MCP library takes most of a second, and many servers never meet an MCP server",
    "letta.tools.sandbox.remote": "Modal's library is optional, and needed only where tools run in its cloud",
    "letta.runtime.tracing": "the OpenTelemetry SDK is an extra",
    "letta.cli.lazy": "a command loads its own work: `letta server` needs no client, and `letta --help` nothing",
}
"""The modules that import by a call, and why each may."""

ONLY_IN = {
    "sqlalchemy": ("letta.store",),
    "alembic": ("letta.store",),
    "asyncpg": ("letta.store",),
    "pydantic_ai": ("letta.models.pydantic_ai",),
    "mcp": ("letta.tools.mcp",),
    "mcp_types": ("letta.tools.mcp",),
    "prometheus_client": ("letta.runtime.numbers",),
    "opentelemetry": ("letta.runtime.spans",),
    "cronsim": ("letta.runtime.cron",),
    "jsonschema": ("letta.tools.arguments", "letta.tools.mcp.judge"),
    "fastapi": ("letta.api", "letta.app", "letta.client", "letta.cli"),
    "starlette": ("letta.api", "letta.app", "letta.client", "letta.cli"),
    "uvicorn": ("letta.cli",),
    "typer": ("letta.cli",),
    "rich": ("letta.cli",),
    "letta_client": ("letta.client", "letta.cli", "openharness_letta"),
}
"""Libraries that one part of the code knows, and no other. `letta.store.tables` counts as SQL."""

SQL_OUTSIDE_THE_STORE = {
    ("letta.runtime.creation", "letta.store.tables.agents"): "the names of the columns of an agent",
}
"""Every place outside the store that knows more of SQL than that a `Connection` is passed on."""

ENVIRONMENT_READERS = {
    "letta.settings": "the one place for settings",
    "letta.app": "hands the surroundings to the discovery of providers",
    "letta.cli": "a command begins with its environment",
    "letta.tools.sandbox.guest": "sets what a tool sees, in a process of its own",
    "openharness_letta.connection": "runs in the user's process, like the official client",
}

NAMES_OF_OTHERS = {
    "letta.schemas.groups": "the API calls the one who leads a group its manager",
    "openharness_letta.memory.MemoryBlockManager": "the public name of the OpenHarness adapter",
}

FULL_PACKAGES = {"openharness.client": "the client, imported by this name everywhere, puts its parts together here"}
"""Packages whose own file does more than to name things."""

_VAGUE = frozenset({"manager", "managers", "service", "services", "helper", "helpers", "util", "utils"})
_UNSAFE_CALLS = frozenset({"eval", "exec"})
_UNSAFE_MODULES = frozenset({"pickle", "marshal", "shelve", "dill", "cloudpickle"})
_SQL_CALLS = frozenset({"execute", "exec_driver_sql", "scalars", "scalar"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST_INIT = 15


def imports_point_left(modules: Modules) -> Iterator[str]:
    for module, target, line in _internal(modules):
        here, there = _layer(module.name), _layer(target)
        if here is not None and there is not None and there > here:
            yield f"{module.path}:{line} imports {target}, which stands to its right"


def distributions_stay_apart(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        allowed = DISTRIBUTIONS[_root(module.name)]
        if module.name in ("letta.client", "letta") or module.name.startswith("letta.cli"):
            allowed = allowed | {"letta_client"}
        for found in module.imports:
            if _root(found.target) in ({*DISTRIBUTIONS, "letta_client"} - allowed):
                yield f"{module.path}:{found.line} imports {found.target}, which is another distribution's"


def layers_are_declared(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if _root(module.name) == "letta" and _layer(module.name) is None:
            yield f"{module.path} is in no layer: put it into one, or into LAYERS"


def imports_stand_at_the_top(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for found in module.imports:
            if found.scope == "function":
                yield f"{module.path}:{found.line} imports {found.target} inside a function or class"
        for line in () if module.name in LAZY_LOADERS else loads(module.tree):
            yield f"{module.path}:{line} imports by a call"


def imports_are_absolute(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for found in module.imports:
            if found.level:
                yield f"{module.path}:{found.line} imports relatively"


def imports_have_no_cycle(modules: Modules) -> Iterator[str]:
    for group in cycles(graph(modules)):
        yield f"these import each other: {', '.join(group)}"


def names_say_what_a_thing_does(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        names = [module.name.rpartition(".")[2]]
        names += [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef | Function)]
        for name in names:
            exempt = module.name in NAMES_OF_OTHERS or f"{module.name}.{name}" in NAMES_OF_OTHERS
            if not exempt and _VAGUE & {word.lower() for word in _WORD.findall(name)}:
                yield f"{module.path}: the name {name} does not say what it does"


def nothing_is_evaluated(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _UNSAFE_CALLS:
                yield f"{module.path}:{node.lineno} calls {node.func.id}"
        for found in module.imports:
            if _root(found.target) in _UNSAFE_MODULES:
                yield f"{module.path}:{found.line} imports {_root(found.target)}"


def the_environment_is_read_in_one_place(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if _belongs(module.name, ENVIRONMENT_READERS):
            continue
        for line in _environment_lines(module):
            yield f"{module.path}:{line} reads the environment"


def packages_hold_names_only(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if not module.is_package or module.name in FULL_PACKAGES:
            continue
        for statement in module.tree.body:
            if not _is_plain(statement, module):
                yield f"{module.path}:{statement.lineno} does more than to name things"
        if module.name.startswith("letta.") and module.lines > _LONGEST_INIT:
            yield f"{module.path} has {module.lines} lines, a package's own file at most {_LONGEST_INIT}"


def modules_say_what_they_do(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if module.tree.body and not ast.get_docstring(module.tree):
            yield f"{module.path} has no docstring"


def libraries_stay_in_their_place(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for found in module.imports:
            library = _root(found.target)
            homes, exempt = ONLY_IN.get(library), (module.name, found.target) in SQL_OUTSIDE_THE_STORE
            passed_on = found.target == "sqlalchemy.Connection"
            if homes and not _belongs(module.name, homes) and not passed_on and not exempt:
                yield f"{module.path}:{found.line} imports {found.target}, known only in {' and '.join(homes)}"


def sql_stays_in_the_store(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if _root(module.name) != "letta" or _belongs(module.name, ("letta.store",)):
            continue
        for line, what in _sql(module):
            if (module.name, what) not in SQL_OUTSIDE_THE_STORE:
                yield f"{module.path}:{line} uses {what}, which is the store's"


RULES: dict[Rule, list[tuple[str, str]]] = {
    imports_point_left: [("letta.store.x", "from letta.api import blocks"), ("letta.errors", "import letta.log")],
    distributions_stay_apart: [
        ("letta.api.x", "import openharness"),
        ("letta.runtime.x", "from letta_client import Letta"),
        ("openharness.x", "import letta"),
        ("openharness_letta.x", "from letta.errors import NotFound"),
    ],
    layers_are_declared: [("letta.agent_manager", "")],
    imports_stand_at_the_top: [
        ("letta.api.x", "def read():\n    import json"),
        ("letta.api.x", "class Reader:\n    from json import loads"),
        ("letta.api.x", "import importlib\nimportlib.import_module('json')"),
    ],
    imports_are_absolute: [("letta.api.x", "from .blocks import router")],
    names_say_what_a_thing_does: [
        ("letta.api.x", "class AgentManager: pass"),
        ("letta.api.x", "def date_helper(): pass"),
        ("letta.api.utils", ""),
    ],
    nothing_is_evaluated: [("letta.tools.x", "eval('1')"), ("letta.tools.x", "from pickle import loads")],
    the_environment_is_read_in_one_place: [
        ("letta.models.x", "import os\nos.environ['HOME']"),
        ("letta.models.x", "import os\nos.getenv('HOME')"),
        ("letta.models.x", "from os import environ"),
    ],
    packages_hold_names_only: [("letta.api", "print()"), ("letta.api", "import json\n" * 16)],
    modules_say_what_they_do: [("letta.api.x", "import json")],
    libraries_stay_in_their_place: [
        ("letta.runtime.x", "from sqlalchemy import select"),
        ("letta.store.x", "from fastapi import Request"),
        ("letta.models.x", "import pydantic_ai.models"),
    ],
    sql_stays_in_the_store: [
        ("letta.api.x", "from letta.store.tables import agents"),
        ("letta.api.x", "def count(connection):\n    return connection.execute('SELECT 1')"),
    ],
}
"""Each rule of one module, and what breaks it: the name of a module and its text."""


@pytest.fixture(scope="module")
def modules() -> Modules:
    return load(*SOURCES)


@pytest.mark.parametrize("rule", [*RULES, imports_have_no_cycle], ids=lambda rule: rule.__name__)
def test_every_module_keeps_to_the_rule(rule: Rule, modules: Modules) -> None:
    assert list(rule(modules)) == []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [(rule, *case) for rule, cases in RULES.items() for case in cases],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_rule_finds_what_breaks_it(rule: Rule, name: str, source: str, modules: Modules) -> None:
    broken = Module(name, source, "broken/__init__.py" if name == "letta.api" else "broken.py")
    told = [sentence for sentence in rule({**modules, name: broken}) if sentence.startswith(broken.path)]
    assert len(told) == 1, told


def test_two_modules_that_import_each_other_are_found() -> None:
    texts = {"a": "from b import x", "b": "import c", "c": "import a.y", "d": "import a"}
    assert cycles(graph({name: Module(name, text) for name, text in texts.items()})) == [["a", "b", "c"]]


def test_every_exception_is_still_needed(modules: Modules) -> None:
    used = {(name, what) for name, module in modules.items() for _, what in _sql(module)}
    stale = [f"SQL: {place}" for place in SQL_OUTSIDE_THE_STORE if place not in used]
    stale += [f"lazy: {name}" for name in LAZY_LOADERS if not loads(modules[name].tree)]
    for reader in ENVIRONMENT_READERS:
        if reader == "letta.settings":  # pydantic-settings reads it there
            continue
        if not any(_environment_lines(module) for name, module in modules.items() if _belongs(name, [reader])):
            stale.append(f"environment: {reader}")
    assert stale == []


def _root(name: str) -> str:
    return name.partition(".")[0]


def _layer(name: str) -> int | None:
    """Where a module of `letta` stands, counted from the left; None for others and for those in no layer."""
    root, _, rest = name.partition(".")
    part = _root(rest)
    return LAYERS.index(part) if root == "letta" and part in LAYERS else None


def _belongs(name: str, places: Mapping[str, str] | tuple[str, ...] | list[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _internal(modules: Modules) -> Iterator[tuple[Module, str, int]]:
    for module in modules.values():
        for found in module.imports:
            target = resolve(found.target, modules)
            if target is not None:
                yield module, target, found.line


def _environment_lines(module: Module) -> list[int]:
    lines = [found.line for found in module.imports if found.target in ("os.environ", "os.getenv", "os.putenv")]
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv" | "putenv", lineno=line):
                lines.append(line)
    return lines


def _sql(module: Module) -> Iterator[tuple[int, str]]:
    """What a module does with SQL: names it imports, and methods that run statements."""
    for found in module.imports:
        if found.target.startswith(("sqlalchemy.", "letta.store.tables")) and found.target != "sqlalchemy.Connection":
            yield found.line, found.target
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="connection") | ast.Attribute(attr="connection"), attr=what)
            ) if what in _SQL_CALLS:
                yield node.lineno, what


def _is_plain(statement: ast.stmt, module: Module) -> bool:
    """Whether a statement of a package's own file is a docstring, an import, `__all__` or the like."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name.startswith("__")
        case ast.Try(body=body, handlers=handlers):
            raises = all(isinstance(last, ast.Raise) for handler in handlers for last in handler.body)
            return raises and all(_is_plain(inner, module) for inner in body)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
            return all(_is_plain(inner, module) for inner in body)
        case ast.FunctionDef(name="__getattr__" | "__dir__"):
            return module.name in LAZY_LOADERS
    return False
