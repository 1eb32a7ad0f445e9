"""The rules of the scripted model: a list of small functions, the first that has something to say decides the plan.

A plan holds the calls still to make in this turn and the reply once they are made. Everything is read from the request,
so the same request always gets the same plan. How a plan is put into text or tool calls is not known here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from json import JSONDecodeError, JSONDecoder

from letta.models.scripted.facts import MEMORY_TOOLS, Fact, facts_in, outstanding, storing_calls
from letta.models.scripted.recall import answer_from_search, answer_locally, known_name, question_in, search_call
from letta.models.scripted.steps import Call
from letta.models.scripted.sums import NoSumError, find_sum, work_out
from letta.models.scripted.turn import Turn, media_type, result_text
from letta.schemas.messages import ToolReturnPart

WHO = (
    "I am the scripted model built into this server: a fixed set of rules, not an AI. I can remember what you tell me, "
    "answer from my memory and our conversation, do small sums and call tools."
)
_NO_RULE = "(I am the built-in scripted model: I follow simple rules, and none of them fits this.)"

_LONGEST_ECHO = 280
_LONGEST_RESULT = 2000
_MOST_WORDS = 100_000
_LONGEST_READ = 4000

_CALL = re.compile(
    r"(?:please\s+)?(?:(?:call|use|run)\s+the\s+tool|(?:use|run)\s+tool|call)\s+[`'\"]?(?P<name>[A-Za-z_][\w.-]*)[`'\"]?\s*",
    re.IGNORECASE,
)
_WITH = re.compile(r"(?:with\s+)?(?=\{)", re.IGNORECASE)
_AND = re.compile(r"\s*,?\s*and\s+(?=(?:call|use|run)\b)", re.IGNORECASE)
_THINK = re.compile(
    r"^(?:please\s+)?think\s+(?:step by step|carefully|hard|about|through|of)\b[\s:,.]*(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_ECHO = re.compile(r"^(?:please\s+)?(?:echo|repeat after me:|say:)\s+(?P<rest>.+)$", re.IGNORECASE | re.DOTALL)
_LONG = re.compile(r"\b(?:stream|write|give|tell|long)\b.*?\b(?P<count>\d[\d,]{0,8})[\s-]+words?\b", re.IGNORECASE)
_HELLO = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|day|afternoon|evening)|greetings|howdy)\b[^?]{0,30}$", re.IGNORECASE
)
_THANKS = re.compile(r"^(?:ok[,\s]+)?(?:thanks|thank you|many thanks|cheers|great|perfect)\b.{0,40}$", re.IGNORECASE)
_BYE = re.compile(r"^(?:good ?bye|bye|see you|good night)\b.{0,30}$", re.IGNORECASE)
_POLITE = ((_HELLO, f"Hello{{}}! {WHO}"), (_THANKS, "You are welcome{}."), (_BYE, "Goodbye{}."))
_WHO = re.compile(
    r"\bwho are you\b|\bwhat are you\b|\bwhat(?:['’]s| is) your name\b"
    r"|\bare you (?:an? )?(?:ai|bot|llm|human|model|real)\b"
    r"|\b(?:what|which) (?:ai |language )?model\b|\bwhat can you do\b|^help\b",
    re.IGNORECASE,
)
_FILLER = (
    "this is a long answer from the scripted model which writes one word after another until it has written enough"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`calls` are made first. `reports` says that the reply already tells what the tools of this turn answered."""

    reply: str = ""
    calls: tuple[Call, ...] = ()
    thought: str | None = None
    reports: bool = False


def plan(turn: Turn) -> Plan:
    """What to do next in this turn."""
    text = turn.text[:_LONGEST_READ]
    thinking = _THINK.match(text)
    if thinking:
        rest = thinking["rest"].strip()
        return replace(_first_plan(turn, rest), thought=None if turn.steps else _thought(rest))
    return _first_plan(turn, text)


def _first_plan(turn: Turn, text: str) -> Plan:
    return next((found for rule in _RULES if (found := rule(turn, text))), None) or _anything_else(turn, text)


def report(turn: Turn) -> str:
    """One sentence on what the tools of this turn answered, failures included; empty when none was called."""
    return "; ".join(_outcome(part) for part in turn.returns if part.name != "send_message")


def _outcome(part: ToolReturnPart) -> str:
    verb = "failed" if part.status == "error" else "answered"
    return f"{part.name or 'The tool'} {verb}: {_short(result_text(part), _LONGEST_RESULT)}"


def _thought(subject: str) -> str:
    asked = _short(subject, _LONGEST_ECHO)
    return f"I am asked to think about: {asked}\nI look for the first rule that fits this, and then I apply it."


def _called_by_name(turn: Turn, text: str) -> Plan | None:
    calls: list[Call] = []
    at = 0
    while match := _CALL.match(text, at):
        name, at = match["name"], match.end()
        explicit = "tool" in match[0].lower()
        arguments = _WITH.match(text, at)
        if name not in turn.tools and not arguments and not explicit:
            return None
        if name not in turn.tools:
            return Plan(f"There is no tool named {name} here. I have: {', '.join(turn.tools) or 'none'}.")
        try:
            args, at = JSONDecoder().raw_decode(text, arguments.end()) if arguments else ({}, at)
        except JSONDecodeError as error:
            return Plan(f"The arguments for {name} are not JSON: {error}.")
        calls.append(Call(name, args))
        joint = _AND.match(text, at)
        if joint is None:
            break
        at = joint.end()
    if not calls:
        return None
    return Plan(report(turn), tuple(calls[len(turn.calls) :]), reports=True)


def _echo(turn: Turn, text: str) -> Plan | None:
    match = _ECHO.match(text)
    return Plan(match["rest"]) if match else None


def _long_answer(turn: Turn, text: str) -> Plan | None:
    match = _LONG.search(text)
    count = int(match["count"].replace(",", "")) if match else 0
    return Plan(" ".join(islice(cycle(_FILLER.split()), min(count, _MOST_WORDS)))) if count else None


def _facts(turn: Turn, text: str) -> Plan | None:
    facts = facts_in(text)
    if not facts:
        return None
    left = outstanding(turn, facts)
    return Plan(_confirmation(turn, facts, left), tuple(storing_calls(turn, left)), reports=True)


def _confirmation(turn: Turn, facts: list[Fact], left: list[Fact]) -> str:
    name = next((fact.name for fact in facts if fact.name), None)
    opening = f"Nice to meet you, {name}." if name else "All right."
    lines = "; ".join(fact.line for fact in facts)
    if turn.failures:
        return f"I could not store everything: {report(turn)}"
    if any(call.name in MEMORY_TOOLS for call in turn.calls):
        return f"{opening} I have stored this in my memory: {lines}"
    if not left:
        return f"I have that in my memory already: {lines}"
    return f"{opening} I have no memory tool at hand, so this stays in our conversation only: {lines}"


def _sum(turn: Turn, text: str) -> Plan | None:
    found = find_sum(text)
    if found is None:
        return None
    try:
        return Plan(f"{found} = {work_out(found)}")
    except NoSumError as error:
        return Plan(f"I cannot work out {found}: {error}.")


def _question(turn: Turn, text: str) -> Plan | None:
    question = question_in(text)
    if question is None:
        return None
    known = answer_locally(turn, question)
    if known and not turn.calls:
        return Plan(known)
    search = None if known else search_call(turn, question)
    return Plan(known or answer_from_search(turn, question), (search,) if search else (), reports=True)


def _images(turn: Turn, text: str) -> Plan | None:
    if not turn.images:
        return None
    count = len(turn.images)
    kinds = ", ".join(media_type(image) for image in turn.images)
    sent = f"You sent {count} image{'s' if count > 1 else ''} ({kinds})."
    return Plan(f"{sent} I am the built-in scripted model: I can count pictures, but not see what is in them.")


def _about_me(turn: Turn, text: str) -> Plan | None:
    return Plan(WHO) if _WHO.search(text) else None


def _politeness(turn: Turn, text: str) -> Plan | None:
    for pattern, words in _POLITE:
        if pattern.match(text):
            name = known_name(turn)
            return Plan(words.format(f", {name}" if name else ""))
    return None


def _anything_else(turn: Turn, text: str) -> Plan:
    if turn.returns:
        return Plan(report(turn) or "My reply has been delivered.", reports=True)
    if not text:
        return Plan(f"There is no message for me to answer. {WHO}")
    return Plan(f"You said: {_short(text, _LONGEST_ECHO)}\n{_NO_RULE}")


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


_RULES: tuple[Callable[[Turn, str], Plan | None], ...] = (
    _called_by_name,
    _echo,
    _long_answer,
    _facts,
    _sum,
    _images,
    _question,
    _about_me,
    _politeness,
)
