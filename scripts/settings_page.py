"""Write docs/settings.md from the fields of `letta.settings`: `python -m scripts.settings_page`.

The text of each field is the docstring below it in the source. A test compares the page with what this makes.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from letta.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs/settings.md"

_INTRODUCTION = """\
# Settings

The server reads its settings once, when it starts: options of `letta server`, then environment variables, then the
defaults; the first that is given counts. There is no configuration file. In Python the same names are arguments:
`Settings(port=9000)`.

Keys of model providers are not settings; the variables for them are in [Models and providers](providers.md).

This page is made from `src/letta/settings.py` by `python -m scripts.settings_page`; a test compares the two.

| environment variable | default | meaning |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    told = dict(_docstrings())
    rows = (_row(name, field, told[name]) for name, field in Settings.model_fields.items())
    return _INTRODUCTION + "\n".join(rows) + "\n"


def variables(name: str, field: FieldInfo) -> list[str]:
    """The environment variables of a field, the first one preferred."""
    alias = field.validation_alias
    if not isinstance(alias, AliasChoices):
        return [f"LETTA_{name.upper()}"]
    return [choice for choice in alias.choices if isinstance(choice, str) and choice != name]


def _row(name: str, field: FieldInfo, told: str) -> str:
    first, *older = (f"`{variable}`" for variable in variables(name, field))
    names = f"{first} (or {', '.join(older)})" if older else first
    text = " ".join(told.split()).replace("|", "\\|")
    return f"| {names} | {_default(field)} | {text}{_range(field)} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, Path):
        return f"`~/{value.relative_to(Path.home())}`" if value.is_relative_to(Path.home()) else f"`{value}`"
    if isinstance(value, list):
        return "`" + str(value).replace("'", '"') + "`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(field: FieldInfo) -> str:
    """What values are taken, where the type says more than that it is a text or a number."""
    if get_origin(field.annotation) is Literal:
        return f" One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."
    if SecretStr in get_args(field.annotation):
        return " Never logged or shown."
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    limits = [
        f"{word} {getattr(rule, sign):g}"
        for sign, word in words.items()
        for rule in field.metadata
        if getattr(rule, sign, None) is not None
    ]
    return f" {', '.join(limits).capitalize()}." if limits else ""


def _docstrings() -> Iterator[tuple[str, str]]:
    [body] = [node for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef)]
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(told))):
                yield name, told


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
