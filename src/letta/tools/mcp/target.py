"""From a server's stored configuration to what is really started or called: secrets filled in.

A value may name secrets of the agent whose call it is: `{{ NAME }}`, or `{{ NAME | what to use without it }}`. Knows
nothing of connections.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from letta.errors import InvalidRequest

HIDDEN = "********"
"""Shown instead of a secret. Written back, it keeps what is stored."""

_REFERENCE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|([^{}]*))?\}\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACES = {"custom_headers": "custom_headers.", "env": "env."}


@dataclass(frozen=True, slots=True)
class StdioTarget:
    """A command to start, with variables beyond the few that every such process gets."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An address to call, with headers. They hold secrets."""

    kind: Literal["sse", "streamable_http"]
    url: str
    headers: Mapping[str, str]


Target = StdioTarget | HttpTarget


def split(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration without its secrets, and the secrets by their places.

    Secret are `auth_token` and the values of `custom_headers` and `env`; those that only name a secret stay.
    """
    shown, secrets = dict(config), {}
    if (token := config.get("auth_token")) and not is_reference(token):
        shown["auth_token"], secrets["auth_token"] = HIDDEN, token
    for field, prefix in _PLACES.items():
        values = config.get(field)
        if not values:
            continue
        shown[field] = {name: value if is_reference(value) else HIDDEN for name, value in values.items()}
        secrets |= {prefix + name: value for name, value in values.items() if not is_reference(value)}
    return shown, secrets


def joined(shown: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """The whole configuration again. Stars without a stored secret behind them are left as they are."""
    config = dict(shown)
    if config.get("auth_token") == HIDDEN:
        config["auth_token"] = secrets.get("auth_token", HIDDEN)
    for field, prefix in _PLACES.items():
        if config.get(field):
            config[field] = {
                name: secrets.get(prefix + name, value) if value == HIDDEN else value
                for name, value in config[field].items()
            }
    return config


def is_reference(value: str) -> bool:
    """Whether a value is nothing but the name of a secret: it may be shown."""
    found = _REFERENCE.search(value)
    return found is not None and found[2] is None and re.sub(r"(?i)bearer|\s", "", _REFERENCE.sub("", value)) == ""


def secrets_named(config: Mapping[str, Any]) -> set[str]:
    """The names of the agent secrets a configuration refers to."""
    return {found[1] for text in _texts(config) for found in _REFERENCE.finditer(text)}


def resolve(config: Mapping[str, Any], secrets: Mapping[str, str]) -> Target:
    """The target of a whole configuration (see `joined`) for one agent's secrets.

    Raises:
        letta.errors.InvalidRequest: a secret is missing, or a header cannot be sent.
    """
    missing: list[str] = []

    def fill(text: str) -> str:
        def value(found: re.Match[str]) -> str:
            name, default = found[1], found[2]
            if name not in secrets and default is None:
                missing.append(name)
            return secrets.get(name, (default or "").strip())

        return _REFERENCE.sub(value, text)

    target: Target
    if config["mcp_server_type"] == "stdio":
        env = {name: fill(value) for name, value in (config.get("env") or {}).items()}
        target = StdioTarget(fill(config["command"]), tuple(fill(arg) for arg in config["args"]), env)
    else:
        headers = {name: fill(value) for name, value in (config.get("custom_headers") or {}).items()}
        headers |= _authorization(config.get("auth_header"), config.get("auth_token"), fill)
        _check_headers(headers)
        target = HttpTarget(config["mcp_server_type"], fill(config["server_url"]), headers)
    if missing:
        names = ", ".join(sorted(set(missing)))
        raise InvalidRequest(f"the configuration names secrets the agent does not have: {names}")
    return target


def fingerprint(target: Target) -> str:
    """The same for the same target; tells nothing of the secrets in it."""
    if isinstance(target, StdioTarget):
        parts: Any = ["stdio", target.command, target.args, sorted(target.env.items())]
    else:
        parts = [target.kind, target.url, sorted(target.headers.items())]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def authorizes(target: HttpTarget) -> bool:
    """Whether the configuration says itself how to authorize, so that nobody has to sign in."""
    return any(name.lower() == "authorization" for name in target.headers)


def without_secrets(text: str, target: Target) -> str:
    """A text for people and models, with every value of a header or variable taken out."""
    values = target.env.values() if isinstance(target, StdioTarget) else target.headers.values()
    words = {word for value in values for word in (value, value.removeprefix("Bearer ")) if len(word) >= 6}
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text


def _authorization(header: str | None, token: str | None, fill: Any) -> dict[str, str]:
    if not token:
        return {}
    value = fill(token)
    if header:
        return {header: value}
    return {"Authorization": value if " " in value else f"Bearer {value}"}


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if _HEADER_NAME.fullmatch(name) is None:
            raise InvalidRequest(f"custom_headers: {name!r} is not the name of a header")
        if not value.isascii() or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise InvalidRequest(f"the value of the header {name} holds characters that no header can carry")


def _texts(config: Mapping[str, Any]) -> Iterable[str]:
    for name in ("command", "server_url", "auth_token"):
        if config.get(name):
            yield config[name]
    yield from config.get("args") or ()
    for field in _PLACES:
        yield from (config.get(field) or {}).values()
