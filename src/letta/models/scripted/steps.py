"""What the scripted model can be told to do: the vocabulary of scripts, in Python and in a user message.

A user message that starts with `!` is a command (only this model knows them):

    !script [{"call": "memory_insert", "args": {...}}, "done"]   one step per model call of this turn, played in order
    !error rate_limit                                            fail the way a provider does (see ERRORS)
    !wait 5 hello                                                wait five seconds (60 at most), then answer the rest

A step of `!script` is a text, `{"call": name, "args": object or raw text}`, `{"think": text}`, `{"wait": seconds}`,
`{"error": word}`, or a list of those (a list with two calls is two parallel calls). This module knows nothing about the
rules that answer everything else, nor about streaming.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from letta import errors
from letta.models.protocol import ModelRequest

LONGEST_WAIT = 60.0

ERRORS: dict[str, type[errors.ModelError]] = {
    "auth": errors.ModelAuthentication,
    "bad_request": errors.ModelBadRequest,
    "credits": errors.ModelCredits,
    "cut_off": errors.ModelCutOff,
    "empty": errors.ModelEmptyAnswer,
    "not_found": errors.ModelNotFound,
    "overflow": errors.ContextOverflow,
    "rate_limit": errors.ModelRateLimit,
    "server": errors.ModelServerError,
    "timeout": errors.ModelTimeout,
    "unreachable": errors.ModelUnreachable,
}


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool. Arguments given as text are sent as they are, so that a test can write broken JSON."""

    name: str
    args: dict[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Think:
    """Visible reasoning."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait `seconds` before the next thing."""

    seconds: float


Item = str | Call | Think | Wait | BaseException
Step = Item | Sequence["Step"] | Callable[[ModelRequest], "Step | Awaitable[Step]"]
"""One answer: a text, a call, a thought, a wait, an error to raise, a list of those in order, or a function that is
given the request when its turn comes (it may be async, so a test can hold an answer back)."""


def command(text: str, steps_taken: int) -> tuple[Step | None, str]:
    """Read a `!` command.

    `steps_taken` is how many model calls this turn has had. Returns the step the command asks for (None when it is not
    a command, or its script is over) and the text that remains for the rules.
    """
    word, _, rest = text.partition(" ")
    if word == "!script":
        return _scripted(rest, steps_taken), text
    if word == "!error":
        return _failure(rest.strip()), text
    if word == "!wait":
        return _waiting(text, rest.strip(), steps_taken)
    return None, text


def _waiting(text: str, rest: str, steps_taken: int) -> tuple[Step | None, str]:
    seconds, _, remainder = rest.partition(" ")
    try:
        wanted = _seconds(float(seconds))
    except ValueError:
        return f"!wait needs a number of seconds, not {seconds!r}.", text
    if not remainder:
        return [Wait(wanted), f"I have waited {wanted:g} seconds."], text
    return None if steps_taken else Wait(wanted), remainder.strip()


def _seconds(wanted: float) -> float:
    # Compared this way round, nan becomes 0.
    return min(wanted, LONGEST_WAIT) if wanted >= 0 else 0.0


def _failure(word: str) -> Step:
    error = ERRORS.get(word)
    if error is None:
        return f"!error knows these words: {', '.join(sorted(ERRORS))}; not {word!r}."
    return error()


def _scripted(text: str, steps_taken: int) -> Step | None:
    try:
        script = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"The text after !script is not JSON: {error}."
    if not isinstance(script, list):
        return "The text after !script must be a JSON list of steps."
    if steps_taken >= len(script):
        return None
    try:
        return _step(script[steps_taken])
    except ValueError as error:
        return f"Step {steps_taken + 1} of !script cannot be read: {error}."


def _step(data: Any) -> Step:
    match data:
        case str():
            return data
        case list():
            return [_step(item) for item in data]
        case {"call": str(name)}:
            args = data.get("args", {})
            if not isinstance(args, dict | str):
                raise ValueError("`args` must be an object or a text")
            return Call(name, args)
        case {"think": str(thought)}:
            return Think(thought)
        case {"wait": int() | float() as seconds}:
            return Wait(_seconds(float(seconds)))
        case {"error": str(word)}:
            return _failure(word)
    raise ValueError(
        'use a text, {"call": name, "args": {}}, {"think": text}, {"wait": seconds}, {"error": word} or a list'
    )
