"""Tool rules in words, as the model reads them: a rule's own template, or the sentence for its type.

A template is text with `{{ field }}` and, for lists, `{{ field | join(", ") }}`: what templates of tool rules consist
of. It is data from a client, so nothing in it is executed. One that asks for anything else is not used.
"""

import re
from functools import lru_cache
from typing import Any

from letta.schemas.tool_rules import ToolRule

_DEFAULTS = {
    "run_first": "The first tool of a turn must be {tool_name}.",
    "constrain_child_tools": "After {tool_name}, the next tool must be one of: {children}.",
    "parent_last_tool": "These tools can only be used directly after {tool_name}: {children}.",
    "conditional": "After {tool_name}, its result decides which tool comes next.",
    "continue_loop": "After {tool_name}, you go on working.",
    "exit_loop": "{tool_name} ends your turn.",
    "required_before_exit": "Use {tool_name} before you end your turn.",
    "max_count_per_step": "Use {tool_name} at most {max_count_limit} times in a turn.",
    "requires_approval": "{tool_name} runs only after a person approves the call.",
}
_PLACE = re.compile(r"""\{\{-?\s*(\w+)\s*(?:\|\s*join\(\s*(?:'([^'}]*)'|"([^"}]*)")\s*\)\s*)?-?\}\}""")
_HIDDEN = frozenset({"type", "prompt_template"})


def rule_text(rule: ToolRule) -> str:
    """What the model is told of a rule: one line, or the lines of its template."""
    values = rule.model_dump(exclude=set(_HIDDEN))
    own = rendered(rule.prompt_template, values) if rule.prompt_template else None
    if own is not None:
        return own
    return _DEFAULTS[rule.type].format(**{name: _said(value, ", ") for name, value in values.items()})


def rendered(template: str, values: dict[str, Any]) -> str | None:
    """The template with the values in their places; None where it asks for what is not there."""
    places = _places(template)
    if places is None or any(name not in values for name, _ in places):
        return None
    pieces = _PLACE.split(template)
    made = [pieces[0]]
    for at, (name, separator) in enumerate(places):
        made += [_said(values[name], separator), pieces[4 * at + 4]]
    return "".join(made).strip() or None


@lru_cache(maxsize=256)
def _places(template: str) -> tuple[tuple[str, str], ...] | None:
    """The names a template asks for, each with what goes between the items of a list. None for one with more in it."""
    left = _PLACE.sub("", template)
    if any(sign in left for sign in ("{{", "}}", "{%", "{#")):
        return None
    return tuple(
        (found[1], next((part for part in found.group(2, 3) if part is not None), ", "))
        for found in _PLACE.finditer(template)
    )


def _said(value: Any, separator: str) -> str:
    if isinstance(value, list):
        return separator.join(_said(item, ", ") for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_said(item, ', ')}" for key, item in value.items())
    return "" if value is None else str(value)
