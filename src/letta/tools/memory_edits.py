"""Edits of a block's text, as pure functions: what the memory tools do once they have found the block.

Every refusal is a `ToolFailed` whose text tells the model how to do better.
"""

import re

from letta.errors import ToolFailed
from letta.memory.prompt import LINE_NUMBER_NOTE

_LINE_NUMBER = re.compile(r"^\s*\d+→ ?", re.MULTILINE)


def refuse_line_numbers(**texts: str) -> None:
    """Raise ToolFailed when the model copied display line numbers or the note about them."""
    for name, text in texts.items():
        if _LINE_NUMBER.search(text):
            raise ToolFailed(
                f"{name} contains line numbers such as '1→'. They are only shown to you and are not part of the "
                "memory: give the text without them."
            )
        if LINE_NUMBER_NOTE in text:
            raise ToolFailed(
                f"{name} contains the note about line numbers, which is not part of the memory: leave it out."
            )


def insert_lines(value: str, text: str, line: int) -> str:
    """`text` put in after line `line`: 0 is the top, -1 the end. Tabs become spaces."""
    refuse_line_numbers(new_string=text)
    lines = value.expandtabs().split("\n") if value else []
    if line != -1 and not 0 <= line <= len(lines):
        raise ToolFailed(
            f"insert_line {line} is out of range: use 0 (top) to {len(lines)} (last line), or -1 for the end."
        )
    at = len(lines) if line == -1 else line
    return "\n".join([*lines[:at], *text.expandtabs().split("\n"), *lines[at:]])


def replace_once(value: str, old: str, new: str) -> str:
    """The single occurrence of `old` replaced by `new`. Tabs become spaces."""
    refuse_line_numbers(old_string=old, new_string=new)
    value, old, new = value.expandtabs(), old.expandtabs(), new.expandtabs()
    if not old:
        raise ToolFailed("old_string is empty: give the exact text to replace, or use memory_insert to add text.")
    found = value.count(old)
    if found == 0:
        raise ToolFailed(
            "old_string was not found in the block. It must match the text exactly, spaces and line breaks included."
        )
    if found > 1:
        lines = [str(value[: match.start()].count("\n") + 1) for match in re.finditer(re.escape(old), value)]
        raise ToolFailed(
            f"old_string occurs {found} times, in lines {', '.join(lines)}: "
            "give more of the text around it, so that it is unique."
        )
    return value.replace(old, new)


def replace_everywhere(value: str, old: str, new: str) -> str:
    """Every occurrence of `old` replaced by `new`."""
    if not old:
        raise ToolFailed("old_content is empty: give the exact text to replace, or use core_memory_append to add text.")
    if old not in value:
        raise ToolFailed("old_content was not found in the block. It must match the text exactly.")
    return value.replace(old, new)


def apply_hunks(value: str, patch: str) -> str:
    """A simplified unified diff applied to `value`: lines begin with ' ' (context), '-' (remove) or '+' (add).

    `@@` lines separate hunks. Context and removed lines of a hunk must stand together, exactly once.
    """
    for hunk in _hunks(patch):
        old = "\n".join(line for sign, line in hunk if sign in " -")
        new = "\n".join(line for sign, line in hunk if sign in " +")
        if not any(sign in " -" for sign, _ in hunk):
            value = f"{value}\n{new}" if value else new
            continue
        padded, wanted = f"\n{value}\n", f"\n{old}\n"
        if padded.count(wanted) == 0:
            raise ToolFailed(f"the patch does not fit: these lines were not found together in the block:\n{old}")
        if padded.count(wanted) > 1:
            raise ToolFailed(f"the patch is not clear: these lines occur more than once, add context lines:\n{old}")
        replacement = f"\n{new}\n" if any(sign in " +" for sign, _ in hunk) else "\n"
        value = padded.replace(wanted, replacement)[1:-1]
    return value


def _hunks(patch: str) -> list[list[tuple[str, str]]]:
    hunks: list[list[tuple[str, str]]] = [[]]
    for number, line in enumerate(patch.rstrip("\n").split("\n"), 1):
        if line.startswith(("@@", "---", "+++")):
            hunks.append([])
        elif line[:1] in ("+", "-", " "):
            hunks[-1].append((line[0], line[1:]))
        elif line == "":
            hunks[-1].append((" ", ""))
        else:
            raise ToolFailed(f"line {number} of the patch begins with {line[:1]!r}: use '+', '-' or a space.")
    wanted = [hunk for hunk in hunks if any(sign in "+-" for sign, _ in hunk)]
    if not wanted:
        raise ToolFailed("the patch changes nothing: lines to add begin with '+', lines to remove with '-'.")
    return wanted
