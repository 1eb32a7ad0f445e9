"""What happens in the process of one call: the tool's source is loaded, its function called, its answer written.

Runs inside the sandbox, in a process that is shut in already and lives for this call only. Standard library only.
The answer is one JSON object: `{"ok": true, "value": ...}`, or `{"ok": false, "error": text}`.
"""

import contextlib
import dataclasses
import enum
import importlib.abc
import inspect
import json
import os
import resource
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from letta.tools.sandbox import door
from letta.tools.sandbox.texts import load

HERE = os.path.dirname(os.path.abspath(__file__))
_FRAMES, _TRACEBACK_CHARACTERS = 12, 6000
_PLAIN = (str, int, float, bool, type(None))

# Loaded once, before the first call. What is loaded has to be copied for every call, so there are two kinds of process:
# one for tools that need little, and one for those that import more than that (`letta.tools.sandbox.needs`).
SLIM = "import base64, collections, datetime, functools, io, itertools, math, random, re, string, time"
WARM = (
    f"{SLIM}, asyncio, csv, decimal, hashlib, pathlib, statistics, subprocess, tempfile, urllib.parse, urllib.request, "
    "uuid"
)


class Unfit(Exception):
    """What the tool gave back, or is, cannot be used; the message says why and is shown as it is."""


def work(request: dict[str, Any], answer_to: int, door_to: int | None) -> NoReturn:
    """Do what the request says, write the answer and end the process."""
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = request["paths"]
    signal.signal(signal.SIGXCPU, _out_of_time)
    first = os.getpid()
    ways: dict[str, Callable[[dict[str, Any], int | None], Any]] = {
        "call": _call,
        "code": _code,
        "schema": _schema,
        "probe": _probe,
    }
    try:
        answer = _encoded({"ok": True, "value": ways[request["what"]](request, door_to)}, request["limit"])
    except Unfit as error:
        answer = _refusal(str(error))
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: they must not pass for an answer
        answer = _refusal(_told(error))
    if os.getpid() != first:
        os._exit(0)  # the tool forked, and the copy came back from the function as well: one answer is enough
    for stream in (sys.stdout, sys.stderr):
        # The tool may have closed it: what was printed before is with the server already.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _write(answer_to, answer)
    os._exit(0)


def _call(request: dict[str, Any], door_to: int | None) -> Any:
    function = _function(request, door_to)
    arguments = dict(request["arguments"])
    wanted = inspect.signature(function).parameters
    for name, value in (("agent_state", request["agent_state"]), ("client", door.client_on(door_to))):
        if name in wanted:
            arguments[name] = state_of(value) if name == "agent_state" else value
    try:
        bound = inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise Unfit(f"TypeError: {function.__name__}() was called wrongly: {error}") from None
    kinds = _hints(function)
    for name, value in bound.arguments.items():
        if name in kinds and name not in ("agent_state", "client"):
            bound.arguments[name] = fitted(value, kinds[name])
    result = function(*bound.args, **bound.kwargs)
    return _finished(result) if inspect.isawaitable(result) else result


def _code(request: dict[str, Any], door_to: int | None) -> None:
    load("__main__", "code.py", request["source"])


def _probe(request: dict[str, Any], door_to: int | None) -> dict[str, Any]:
    return {"python": sys.version.split()[0]}


def _schema(request: dict[str, Any], door_to: int | None) -> Any:
    """JSON Schemas of the parameters whose types only the running code knows, by parameter."""
    function = _function(request, door_to)
    kinds = _hints(function)
    module = load("letta_schemas", "schemas.py", "import pydantic")
    return {
        name: module.pydantic.TypeAdapter(kinds[name]).json_schema() for name in request["arguments"] if name in kinds
    }


def _function(request: dict[str, Any], door_to: int | None) -> Callable[..., Any]:
    name = request["name"]
    module = load("tool", f"{name}.py", request["source"], client=door.client_on(door_to))
    function = getattr(module, name, None)
    if not callable(function):
        raise Unfit(f"the source defines no function called {name}")
    return typing.cast(Callable[..., Any], function)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # whatever an annotation raises: the function may well run without
        return {}


def _finished(result: Any) -> Any:
    async def awaited() -> Any:
        return await result

    return load("letta_loop", "loop.py", "import asyncio").asyncio.run(awaited())


class State(dict[str, Any]):
    """The agent, as the API answers it: `state["name"]` and `state.name` are the same."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the agent has no {name!r}") from None


def state_of(value: Any) -> Any:
    """JSON whose objects also answer to attributes."""
    if isinstance(value, dict):
        return State({key: state_of(item) for key, item in value.items()})
    return [state_of(item) for item in value] if isinstance(value, list) else value


# -- arguments: JSON into what the function declares -------------------------------------------------------------------


def fitted(value: Any, kind: Any) -> Any:
    """JSON as the type that was declared: pydantic models, dataclasses, enums, dates, and lists and dicts of those.

    What does not fit stays as it is, except in models and dataclasses, whose own complaint is raised.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return fitted(value, inner[0])
    if origin in (typing.Union, types.UnionType):
        return _of_union(value, inner)
    if isinstance(value, list) and origin in (list, set, tuple, frozenset):
        several = inner[:1] if inner and (origin is not tuple or inner[1:] == (...,)) else inner
        kinds = several * len(value) if len(several) == 1 else several
        made = [fitted(item, of) for item, of in zip(value, kinds, strict=False)] if kinds else value
        return origin(made)
    if isinstance(value, dict) and origin in (dict, Mapping) and len(inner) == 2:
        return {key: fitted(item, inner[1]) for key, item in value.items()}
    return _made(value, kind) if isinstance(kind, type) else value


def _of_union(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None:
        return None
    problem: Exception | None = None
    for kind in kinds:
        try:
            made = fitted(value, kind)
        except Exception as error:  # this member does not take it; another may
            problem = error
            continue
        if made is not value or (isinstance(kind, type) and isinstance(value, kind)):
            return made
    if problem is not None and not isinstance(value, _PLAIN):
        raise problem
    return value


def _made(value: Any, kind: type) -> Any:
    if isinstance(value, dict) and hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    if isinstance(value, dict) and dataclasses.is_dataclass(kind):
        kinds = _hints(kind)
        return kind(**{name: fitted(item, kinds.get(name)) for name, item in value.items()})
    if issubclass(kind, enum.Enum) and isinstance(value, str | int):
        return kind(value) if value in [member.value for member in kind] else value
    if isinstance(value, str) and hasattr(kind, "fromisoformat"):
        return kind.fromisoformat(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return set(value) if kind is set and isinstance(value, list) else value


# -- results: what the function returned into JSON ---------------------------------------------------------------------


def _encoded(answer: dict[str, Any], limit: int) -> bytes:
    value = answer["value"]
    try:
        encoded = json.dumps(answer, default=_plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except RecursionError:
        raise Unfit("the tool returned something that contains itself, which JSON cannot say") from None
    except (TypeError, ValueError) as error:
        raise Unfit(
            f"the tool returned a {type(value).__name__} that cannot be said in JSON ({error}). Return text, numbers, "
            "lists or dicts."
        ) from None
    if len(encoded) > limit:
        raise Unfit(
            f"the tool returned {len(encoded):,} bytes; at most {limit:,} can be returned. Return a part or a summary."
        )
    return encoded


def _plain(value: Any) -> Any:
    """A value that is no JSON as one that is. Raises TypeError."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    for way in ("isoformat", "tolist"):
        if callable(found := getattr(value, way, None)):
            return found()
    if isinstance(value, os.PathLike) or type(value).__name__ in ("Decimal", "UUID"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _refusal(text: str) -> bytes:
    return json.dumps({"ok": False, "error": text}).encode()


def _told(error: BaseException) -> str:
    """The traceback from the tool's own first frame on, its end if it is long."""
    if isinstance(error, SystemExit):
        return f"SystemExit: the tool ended itself with exit({error.code!r}) instead of returning"
    try:
        told = traceback.TracebackException.from_exception(error, compact=True)
        _forget_frames(told, set())
        text = "".join(told.format(chain=True)).rstrip()
    except Exception:  # an error whose own text raises
        text = type(error).__name__
    return text if len(text) <= _TRACEBACK_CHARACTERS else f"...{text[-_TRACEBACK_CHARACTERS:]}"


def _forget_frames(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    frames = [frame for frame in told.stack if not _ours(frame.filename)]
    told.stack = traceback.StackSummary.from_list(frames[-_FRAMES:])
    for other in (told.__cause__, told.__context__):
        if other is not None:
            _forget_frames(other, seen)


def _ours(path: str) -> bool:
    return path.startswith((HERE, "<frozen ")) or path == importlib.abc.__file__


def _out_of_time(number: int, frame: Any) -> NoReturn:
    limit = resource.getrlimit(resource.RLIMIT_CPU)[0]
    raise TimeoutError(f"the tool used more than {limit} seconds of processor time")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
