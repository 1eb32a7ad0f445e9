"""Facts a user states ("my name is Ann", "I live in Rome", "remember that ...") and the tool calls that store them.

Which tool and which block are used follows from what the request offers. This module knows nothing about questions.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from letta.models.protocol import ToolSchema
from letta.models.scripted.steps import Call
from letta.models.scripted.turn import Block, Turn

MEMORY_TOOLS = (
    "memory_insert",
    "memory_replace",
    "memory",
    "core_memory_append",
    "core_memory_replace",
    "memory_rethink",
    "archival_memory_insert",
)

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE = re.compile(r",?\s+(?:and|but)\s+(?=(?:I|i|I'm|my|My|call|please|remember)\b)|,\s+(?=(?:I|my|I'm)\b)")
_REMEMBER = re.compile(
    r"^(?:(?:please|hey|ok|okay|now|also|can you|could you|will you|would you|I want you to)[,\s]+)*"
    r"(?:remember|memori[sz]e|note|don['’]t forget|keep in mind)"
    r"(?P<joint>\s+that|\s+this|\s+to)?(?:\s*:)?\s+(?P<fact>.+)$",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:(?:hi|hello|hey|well|so|yes|no|ok|okay|also|and|by the way|actually|please)\b[\s,!.]*)+", re.IGNORECASE
)
_NAME = re.compile(
    r"^(?:my (?:first |full )?name(?:['’]s| is)(?: now| actually)?"
    r"|(?:you (?:can|may) )?(?:please )?call me)\s+(?P<name>[^\n,.;:!?\"]{1,60})",
    re.IGNORECASE,
)
# "I am tired" is no name: after "I am" only words with a capital count.
_I_AM = re.compile(r"^(?:I am|I['’]m|i am|i['’]m)\s+(?P<name>[^\W\d_][\w'’-]*(?:\s+[^\W\d_][\w'’-]*){0,3})\s*[.!]?$")
_NO_NAMES = (
    "a again an at back crazy fine from happy here if in it later maybe me not now ok okay on out ready sorry sure the "
    "then there tired today tomorrow tonight when"
)
_NOT_NAMES = frozenset(_NO_NAMES.split())
_HABITS = re.compile(
    r"^I(?: really| also| always| usually)? "
    r"(?P<verb>live|work|study|like|love|prefer|enjoy|hate|dislike|play|speak|come from)\s+(?P<rest>.+)$",
    re.IGNORECASE,
)
_MINE = re.compile(
    r"^my (?P<thing>favou?rite [^,.;!?]+?|birthday|job|hobby|age|e-?mail|timezone|time zone) is (?P<value>.+)$",
    re.IGNORECASE,
)
_POINTERS = frozenset({"how", "it", "that", "them", "these", "this", "those", "what", "you", "your"})
_LONGEST = 300
_VERBS = {"study": "Studies", "come from": "Comes from"}
_NAME_LINE = re.compile(
    r"^(?P<line>\W*(?:(?:my|his|her|their|the|first|full|preferred|user['’]?s?|human['’]?s?)\s+)*name\s*(?:\bis\b|:|=)\s*(?P<name>[^\n.,;]+)[^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)


class Fact(NamedTuple):
    """A line worth keeping. `name` is set when the line says what the user is called."""

    line: str
    name: str | None = None


def facts_in(text: str) -> list[Fact]:
    """The facts stated in a text, in order, each once."""
    found: dict[str, Fact] = {}
    for clause in _clauses(text):
        fact = _fact(clause)
        if fact:
            found.setdefault(fact.line.casefold(), fact)
    return list(found.values())


def _clauses(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(text):
        if sentence.rstrip().endswith("?") and not _REMEMBER.match(sentence):
            # "I am Ann, what is yours?": what comes before the question may still be a statement.
            sentence, comma, _ = sentence.partition(",")
            if not comma:
                continue
        yield from _CLAUSE.split(sentence)


def _fact(clause: str) -> Fact | None:
    clause = clause.strip()
    asked = _REMEMBER.match(clause)
    if asked:
        joint = (asked["joint"] or "").strip().lower()
        fact = asked["fact"].rstrip(" .!?")
        told = None if joint == "to" else _told(fact)
        return told or Fact(f"Remember to {fact}" if joint == "to" else fact[:1].upper() + fact[1:])
    return _told(_OPENING.sub("", clause).rstrip(" .!"))


def _told(clause: str) -> Fact | None:
    name = _name(clause)
    if name:
        return Fact(f"Name: {name}", name)
    habit = _HABITS.match(clause) if len(clause) <= _LONGEST else None
    if habit and habit["rest"].split()[0].lower() not in _POINTERS:
        verb = habit["verb"].lower()
        return Fact(f"{_VERBS.get(verb) or verb.capitalize() + 's'} {habit['rest']}")
    mine = _MINE.match(clause)
    return Fact(f"{mine['thing'].capitalize()} is {mine['value']}") if mine else None


def _name(clause: str) -> str | None:
    given = _NAME.match(clause)
    match = given or _I_AM.match(clause)
    if match is None:
        return None
    words = match["name"].split()
    if not words or len(words) > 4 or words[0].lower() in _NOT_NAMES:
        return None
    if not given and not all(word[0].isupper() for word in words):
        return None
    # Names are written with a capital, also when the user was in a hurry.
    return " ".join(words) if given is None or any(w[0].isupper() for w in words) else " ".join(words).title()


def name_in(value: str) -> str | None:
    """The name a block states on a line of its own ("Name: Ann", "The user's name is Ann.")."""
    match = _NAME_LINE.search(value)
    return match["name"].strip() if match else None


def home_block(turn: Turn) -> Block | None:
    """The block facts about the user go to: `human`, else the first one that is not the persona and may be written."""
    writable = [block for block in turn.blocks if not block.read_only]
    named = [block for block in writable if block.label == "human"]
    return next(iter(named + [block for block in writable if block.label != "persona"] + writable), None)


def outstanding(turn: Turn, facts: list[Fact]) -> list[Fact]:
    """The facts that neither stand in a block already nor were sent to a tool in this turn."""
    kept = {line.strip().casefold() for block in turn.blocks for line in block.value.splitlines()}
    sent = "\n".join(_strings(call.arguments) for call in turn.calls if call.name in MEMORY_TOOLS).casefold()
    return [
        fact
        for fact in facts
        if fact.line.casefold() not in kept and fact.line.casefold() not in sent and not _same_name(turn, fact)
    ]


def _same_name(turn: Turn, fact: Fact) -> bool:
    home = home_block(turn)
    return bool(fact.name and home and (name_in(home.value) or "").casefold() == fact.name.casefold())


def _strings(arguments: str) -> str:
    try:
        data = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return "\n".join(str(value) for value in data.values()) if isinstance(data, dict) else arguments


def storing_calls(turn: Turn, facts: list[Fact]) -> list[Call]:
    """The calls that store `facts` with the tools offered; empty when no tool fits."""
    block = home_block(turn)
    calls, lines = [], []
    for fact in facts:
        old = _line_with_name(block) if block and fact.name else None
        change = _replacing(turn, block, old, fact.line) if block and old else None
        if change:
            calls.append(change)
        else:
            lines.append(fact.line)
    added = _adding(turn, block, "\n".join(lines)) if lines else None
    return calls + ([added] if added else [])


def _line_with_name(block: Block) -> str | None:
    match = _NAME_LINE.search(block.value)
    # An edit must name text that stands in the block exactly once.
    return match["line"] if match and block.value.count(match["line"]) == 1 else None


def _replacing(turn: Turn, block: Block, old: str, new: str) -> Call | None:
    if tool := turn.tools.get("memory_replace"):
        args = {_argument(tool, "old_string", "old_str"): old, _argument(tool, "new_string", "new_str"): new}
        return Call(tool.name, {"label": block.label, **args})
    if tool := turn.tools.get("core_memory_replace"):
        return Call(tool.name, {"label": block.label, "old_content": old, "new_content": new})
    if tool := turn.tools.get("memory"):
        args = {_argument(tool, "old_string", "old_str"): old, _argument(tool, "new_string", "new_str"): new}
        return Call(tool.name, {"command": "str_replace", "path": f"/memories/{block.label}", **args})
    return None


def _adding(turn: Turn, block: Block | None, text: str) -> Call | None:
    label = block.label if block else "human"
    if tool := turn.tools.get("memory_insert"):
        return Call(tool.name, {"label": label, _argument(tool, "new_string", "new_str"): text})
    if "core_memory_append" in turn.tools:
        return Call("core_memory_append", {"label": label, "content": text})
    if tool := turn.tools.get("memory"):
        inserted = _argument(tool, "insert_text", "new_string")
        return Call(tool.name, {"command": "insert", "path": f"/memories/{label}", inserted: text})
    if "memory_rethink" in turn.tools and block:
        return Call("memory_rethink", {"label": label, "new_memory": f"{block.value}\n{text}".strip()})
    if "archival_memory_insert" in turn.tools:
        return Call("archival_memory_insert", {"content": text})
    return None


def _argument(tool: ToolSchema, *spellings: str) -> str:
    """The spelling of an argument this tool uses; they differ between generations of the tools."""
    properties = tool.parameters.get("properties") or {}
    return next((name for name in spellings if name in properties), spellings[0])
