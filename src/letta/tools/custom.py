"""Tools written in code: their schema when they are stored, and what happens when one is called.

Everything that runs is run in a sandbox. Knows nothing of agents, runs and the database: what a tool may know of them
comes in a `ToolEnvironment`.
"""

import ast
import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import orjson

from letta.errors import InvalidRequest, ToolFailed
from letta.schemas.tools import Tool
from letta.schemas.variables import is_variable_name
from letta.settings import Settings
from letta.tools import requirements as packages
from letta.tools import schema_generation, typescript
from letta.tools.context import ToolResult
from letta.tools.door import Door
from letta.tools.redaction import redacted
from letta.tools.requirements import Requirements
from letta.tools.sandbox.choice import Choice, choose
from letta.tools.sandbox.host import Job, Outcome, Sandbox
from letta.tools.sandbox.isolation import Limits, World, own_packages, seen_as
from letta.tools.sandbox.needs import is_small
from letta.tools.sandbox.process import SandboxFault
from letta.tools.sandbox.remote import RemoteSandbox
from letta.tools.schema_generation import Derived

log = logging.getLogger(__name__)

_BUILD_PATIENCE = 60.0
_SCHEMA_SECONDS = 20.0
_NO_NETWORK = (
    "Network is unreachable", "Temporary failure in name resolution", "Name or service not known", "EAI_AGAIN",
    "ENETUNREACH",
)  # fmt: skip
_NETWORK_HINT = (
    '\n(Tools have no network unless it is allowed: set metadata_ {"allow_network": true} on the tool, or '
    "LETTA_SANDBOX_NETWORK=true for all.)"
)


@dataclass(frozen=True, slots=True)
class ToolEnvironment:
    """What a tool may know of the agent that calls it. `agent_state` is the agent as JSON; `timeout` is in seconds.

    `waiting` are the agents and conversations that go on only when the call has ended.
    """

    agent_id: str | None = None
    agent_state: Mapping[str, Any] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    project_id: str | None = None
    timeout: float | None = None
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Execution:
    """A call's end: `value` is what the function returned (JSON), `text` the same for the model, or the error."""

    ok: bool
    value: Any
    text: str
    stdout: tuple[str, ...]
    stderr: tuple[str, ...]
    fingerprint: str


class CustomTools:
    """Stored and unstored tools, in one sandbox. Use it in one event loop and close it with `aclose`."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], door: Door | None = None) -> None:
        self._settings = settings
        self._door = door
        self._elsewhere = settings.sandbox in ("e2b", "modal")
        self._limits = Limits(memory=settings.tool_memory_mb << 20)
        self._surroundings = environment
        self._folder = settings.data_dir / "tool-envs"
        self._requirements = Requirements(self._folder, environment)
        self._choice: Choice | None = None
        self._sandbox: Sandbox | RemoteSandbox | None = None

    async def isolation(self) -> Choice:
        """The isolation in use, found at the first call of this."""
        if self._choice is None:
            hidden, unsafe = [self._settings.data_dir], self._settings.unsafe_tools
            choice = await choose(self._settings.sandbox, self._limits, hidden, unsafe=unsafe)
            if self._choice is None:
                self._choice = choice
                if choice.kind == "e2b" or choice.kind == "modal":
                    self._sandbox = RemoteSandbox(choice.kind, self._limits, self._surroundings)
                elif choice.kind is not None:
                    self._sandbox = Sandbox(choice.kind, self._limits, hidden)
        return self._choice

    async def aclose(self) -> None:
        """End what runs and what is being installed."""
        await self._requirements.aclose()
        if self._sandbox is not None:
            await self._sandbox.aclose()

    # -- calls ---------------------------------------------------------------------------------------------------------

    async def run(self, tool: Tool, arguments: dict[str, Any], environment: ToolEnvironment) -> ToolResult:
        """Call a tool. Whatever goes wrong is in the result: nothing is raised but a cancellation."""
        done = await self.execute(tool, arguments, environment)
        limit = tool.return_char_limit or 50_000
        return ToolResult(clipped(done.text, limit), done.ok, done.stdout, done.stderr)

    async def execute(
        self, tool: Tool, arguments: dict[str, Any], environment: ToolEnvironment, *, whole: bool = False
    ) -> Execution:
        """Call a tool and keep what it returned. `whole` runs its source instead of a function in it."""
        seconds = environment.timeout or self._settings.tool_timeout
        try:
            given = arguments if whole else _fitting(tool, arguments)
            job = await self._job(tool, given, environment, seconds, "code" if whole else "call")
            outcome = await self._run(job)
        except (ToolFailed, InvalidRequest) as error:
            return Execution(False, None, f"Error: {error.message}", (), (), "")
        ok, value, text = _verdict(outcome, seconds, self._limits)
        if not ok and not job.world.network and any(sign in text for sign in _NO_NETWORK):
            text += _NETWORK_HINT
        secrets = environment.secrets
        return Execution(
            ok,
            redacted(value, secrets),
            redacted(text, secrets),
            tuple(redacted(outcome.stdout, secrets).splitlines()),
            tuple(redacted(outcome.stderr, secrets).splitlines()),
            f"{self._choice.kind if self._choice else None}:{'network' if job.world.network else 'no-network'}",
        )

    async def run_code(self, language: str, code: str, environment: ToolEnvironment) -> ToolResult:
        """Run a piece of Python or JavaScript; its output is the result."""
        kinds = {"python": "python", "py": "python", "js": "typescript", "javascript": "typescript", "ts": "typescript"}
        kind = kinds.get(language.lower(), kinds.get(language))
        if kind is None:
            return ToolResult(f"Error: language {language!r} cannot be run here, only python, js and ts.", ok=False)
        tool = Tool(id="tool-code", name="run_code", source_type=kind, source_code=code)
        done = await self.execute(tool, {}, environment, whole=True)
        printed = "\n".join([*done.stdout, *done.stderr])
        text = printed if done.ok else "\n".join(part for part in (printed, done.text) if part)
        return ToolResult(clipped(text or "(no output)", 50_000), done.ok, done.stdout, done.stderr)

    async def _job(
        self, tool: Tool, arguments: dict[str, Any], environment: ToolEnvironment, seconds: float, what: str
    ) -> Job:
        source = tool.source_code or ""
        network = self._settings.sandbox_network or bool((tool.metadata_ or {}).get("allow_network"))
        request: dict[str, Any] = {
            "what": what,
            "source": source,
            "name": tool.name,
            "arguments": arguments,
            "agent_state": environment.agent_state,
            "environment": _variables(environment, tool),
            "paths": [],
            "limit": self._limits.answer,
        }
        wanted = packages.words("pip", tool.pip_requirements)
        if self._elsewhere:
            if tool.source_type in ("typescript", "javascript"):
                raise ToolFailed(f"{self._settings.sandbox} runs Python here, not {tool.source_type}.")
            return Job(World((), network), request, seconds, requirements=wanted)
        if tool.source_type in ("typescript", "javascript"):
            return await self._node_job(tool, request, network, seconds)
        door = self._door if mentions(source, "client") else None
        world = await self._world(wanted, network)
        world = replace(world, slim=door is None and is_small(source))
        serve = None if door is None else partial(door.serve, waiting=environment.waiting)
        return Job(world, request, seconds, door=serve)

    async def _node_job(self, tool: Tool, request: dict[str, Any], network: bool, seconds: float) -> Job:
        node = await typescript.node()
        wanted = packages.words("npm", tool.npm_requirements)
        if not node.strips_types:
            wanted = tuple(sorted({*wanted, typescript.STRIPPER}))
        also: tuple[Path, ...] = (node.path.parent, typescript.RUNNER.parent)
        if request["what"] == "call":
            request["order"] = typescript.parameter_names(request["source"], tool.name)
        if wanted:
            folder = await self._requirements.folder("npm", wanted, _BUILD_PATIENCE)
            request["modules"] = str(await self._seen(folder / "node_modules"))
            also = (*also, folder)
        world = World((), network, also)
        program, runner = await self._seen(node.path), await self._seen(typescript.RUNNER)
        return Job(world, request, seconds, program=typescript.command(program, runner, self._limits.memory))

    async def _world(self, wanted: tuple[str, ...], network: bool) -> World:
        if not wanted:
            return World(own_packages(), network)
        folder = await self._requirements.folder("pip", wanted, _BUILD_PATIENCE)
        # Its own packages first: those of the server are there for `client` only.
        return World((folder.resolve(), *own_packages()), network)

    async def _seen(self, path: Path) -> Path:
        """Where a call finds a file of its world."""
        kind = (await self.isolation()).kind
        return seen_as(path, "bubblewrap" if kind == "bubblewrap" else "none")

    async def _run(self, job: Job) -> Outcome:
        choice = await self.isolation()
        if self._sandbox is None:
            raise ToolFailed(
                f"tools written in code cannot run on this server, because nothing here can isolate them ({choice}). "
                "Install bubblewrap, or accept the danger with LETTA_UNSAFE_TOOLS=true."
            )
        try:
            outcome = await self._sandbox.run(job)
        except SandboxFault as error:
            log.error("%s", error)
            raise ToolFailed(str(error)) from None
        if outcome.fault is not None:
            log.error("a call could not be isolated, and was not made: %s", outcome.fault)
            raise ToolFailed(f"the sandbox failed before the tool began: {outcome.fault}")
        return outcome

    # -- schemas and requirements --------------------------------------------------------------------------------------

    async def schema(self, tool: Tool, name: str | None = None) -> dict[str, Any]:
        """The JSON Schema a tool gets: the one it brings, or one derived from its source, from the function `name`.

        Raises:
            letta.errors.InvalidRequest: source or schema are unusable; the message says where.
        """
        source, given = tool.source_code or "", tool.json_schema
        wanted = given.get("name") if given else name
        packages.words("pip", tool.pip_requirements)
        packages.words("npm", tool.npm_requirements)
        if tool.source_type in ("typescript", "javascript"):
            derived = typescript.derive(source, wanted)
        elif tool.source_type in (None, "python"):
            derived = schema_generation.derive(source, wanted)
        else:
            raise InvalidRequest(f"source_type: {tool.source_type!r} is neither 'python' nor 'typescript'")
        if given is not None:
            schema = dict(given)
        elif tool.args_json_schema is not None:
            schema = schema_generation.with_arguments(derived.schema, tool.args_json_schema)
        else:
            schema = await self._completed(tool, derived)
        if tool.description and not given:
            schema["description"] = tool.description
        schema_generation.check(schema, derived.name)
        return schema

    def prepare(self, tool: Tool) -> None:
        """Begin to install what a tool needs, so that it is there when it is called first.

        Raises:
            letta.errors.InvalidRequest: a requirement is not one.
        """
        pip, npm = packages.words("pip", tool.pip_requirements), packages.words("npm", tool.npm_requirements)
        if not self._elsewhere:
            self._requirements.begin("pip", pip)
            self._requirements.begin("npm", npm)

    def states(self, tool: Tool) -> dict[str, packages.State]:
        """How far the installation of a tool's requirements is, by kind."""
        return {
            "pip": self._requirements.state("pip", packages.words("pip", tool.pip_requirements)),
            "npm": self._requirements.state("npm", packages.words("npm", tool.npm_requirements)),
        }

    async def _completed(self, tool: Tool, derived: Derived) -> dict[str, Any]:
        """The schema with what only the running code knows of its parameters, asked for in the sandbox."""
        if not derived.open:
            return derived.schema
        request: dict[str, Any] = {
            "what": "schema",
            "source": tool.source_code,
            "name": derived.name,
            "arguments": list(derived.open),
            "environment": {},
            "paths": [],
            "limit": self._limits.answer,
        }
        what = ", ".join(f"{name}: {kind}" for name, kind in derived.open.items())
        try:
            wanted = packages.words("pip", tool.pip_requirements)
            world = World((), bool(wanted)) if self._elsewhere else await self._world(wanted, network=False)
            outcome = await self._run(Job(world, request, _SCHEMA_SECONDS, requirements=wanted))
        except ToolFailed as error:
            raise InvalidRequest(
                f"source_code: the types of {what} are known to the running code only, and it cannot be run: "
                f"{error.message} Give json_schema or args_json_schema instead."
            ) from None
        ok, found, text = _verdict(outcome, _SCHEMA_SECONDS, self._limits)
        if not ok or not isinstance(found, dict) or set(found) != set(derived.open):
            raise InvalidRequest(
                f"source_code: no schema can be made of {what}. Give json_schema or args_json_schema instead. {text}"
            )
        return _filled(derived, found)


def _fitting(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    parameters = (tool.json_schema or {}).get("parameters")
    python = tool.source_type in (None, "python")
    guessed = schema_generation.guesses(tool.source_code or "", tool.name) if python else {}
    # Loaded by the first call, because the library behind it takes a tenth of the start.
    fitted: dict[str, Any] = importlib.import_module("letta.tools.arguments").fitting(arguments, parameters, guessed)
    return fitted


def clipped(text: str, limit: int) -> str:
    """The beginning of a text that is too long, with a note that says so; at most `limit` characters together."""
    if len(text) <= limit:
        return text
    note = f"... [cut: {len(text)} characters, the limit of this tool is {limit}]"
    return text[: max(0, limit - len(note))] + note[:limit]


def result_text(value: Any) -> str:
    """What a function returned, as the model reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    return "None" if value is None else orjson.dumps(value).decode()


def _verdict(outcome: Outcome, timeout: float, limits: Limits) -> tuple[bool, Any, str]:
    """Whether a call worked, what it returned, and what the model is told. Nothing the process wrote is believed."""
    if outcome.timed_out:
        return False, None, f"Error: the tool was ended because it took more than {timeout:g} seconds."
    if outcome.disk_full:
        return False, None, f"Error: the tool was ended because it wrote more than {limits.scratch >> 20} MB of files."
    if outcome.signal:
        return False, None, (
            f"Error: the tool's process was killed by signal {outcome.signal}; it may have used too much memory "
            f"({limits.memory >> 20} MB are allowed) or processor time."
        )  # fmt: skip
    try:
        answer = orjson.loads(outcome.answer or b"")
    except orjson.JSONDecodeError:
        answer = None
    match answer:
        case {"ok": True, "value": value} if outcome.code == 0:
            return True, value, result_text(value)
        case {"ok": False, "error": str(error)}:
            return False, None, error if error.startswith("Error") else f"Error: {error}"
    if outcome.answer:
        return False, None, "Error: the tool's process answered with something that is no result."
    return False, None, f"Error: the tool's process ended with exit code {outcome.code} before it returned anything."


def _variables(environment: ToolEnvironment, tool: Tool) -> dict[str, str]:
    """All the environment variables of a call."""
    own = {
        "LETTA_AGENT_ID": environment.agent_id,
        "LETTA_PROJECT_ID": environment.project_id,
        "LETTA_TOOL_ID": tool.id if tool.id != "tool-code" else None,
    }
    basic = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    return {**basic, **_usable(environment), **{name: value for name, value in own.items() if value}}


def _usable(environment: ToolEnvironment) -> dict[str, str]:
    """The secrets that can be environment variables: names were not always checked when they were stored."""
    for name in environment.secrets:
        if not is_variable_name(name):
            log.warning(
                "a secret of agent %s is left out: %r is not the name of an environment variable",
                environment.agent_id, name,
            )  # fmt: skip
    return {name: value for name, value in environment.secrets.items() if is_variable_name(name)}


@lru_cache(maxsize=512)
def mentions(source: str, name: str) -> bool:
    """Whether a name occurs in Python source; only then a call gets what the name stands for."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.arg) and node.arg == name)
        for node in ast.walk(tree)
    )


def _filled(derived: Derived, found: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(derived.parameters["properties"])
    for name, schema in found.items():
        told = properties[name].get("description")
        inlined = _without_none(schema_generation.inline(schema))
        properties[name] = {**inlined, **properties[name], **({"description": told} if told else {})}
    return {**derived.schema, "parameters": {**derived.parameters, "properties": properties}}


def _without_none(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the null of an Optional: that a parameter may be left out says the same."""
    members: Sequence[Any] = schema.get("anyOf", ())
    rest = [member for member in members if member != {"type": "null"}]
    if len(rest) == len(members):
        return schema
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**others, **rest[0]} if len(rest) == 1 else {**others, "anyOf": rest}
