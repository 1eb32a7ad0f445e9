"""Environment variables of tools: which names they may have."""

import re
from typing import Annotated

from pydantic import AfterValidator

_LONGEST = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_variable_name(name: str) -> bool:
    """Whether every system and shell takes this as the name of an environment variable."""
    return len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


def _named(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if not is_variable_name(name):
            raise ValueError(
                f"{name[:_LONGEST]!r} is not the name of an environment variable: use letters A to Z, digits and _, "
                f"not a digit first, at most {_LONGEST} characters"
            )
    return variables


Variables = Annotated[dict[str, str], AfterValidator(_named)]
"""Values by the names of environment variables."""
