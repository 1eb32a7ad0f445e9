"""Questions about the user and about what was said: answered from the blocks, then the conversation, then a search.

The search is the agent's own `conversation_search` tool. Matching is by words, not by meaning, so what was found is
quoted.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from letta.models.scripted.facts import facts_in, name_in
from letta.models.scripted.steps import Call
from letta.models.scripted.turn import Turn, result_text

SEARCH = "conversation_search"

_NAME = re.compile(
    r"\b(?:what(?:['’]s| is|s)|do you (?:still )?(?:know|remember)|tell me|say) my name\b|\bwho am i\b", re.IGNORECASE
)
_ALL = re.compile(
    r"\bwhat (?:do|did|can) you (?:know|remember|have|learn)\b.*\babout me\b|\btell me (?:all )?about me\b",
    re.IGNORECASE,
)
_TOPIC = re.compile(
    r"\bwhat (?:did|have) (?:i|we) (?:just )?"
    r"(?:say|said|tell you|told you|talk(?:ed)?|mention(?:ed)?|discuss(?:ed)?|write|written) "
    r"(?:to you )?about (?P<topic>[^?!.]+)",
    re.IGNORECASE,
)
_PERSONAL = re.compile(
    r"^(?:(?:and|so|please|hey|hi|can you tell me|tell me|do you (?:know|remember))\b[\s,]*)*"
    r"(?:what|what['’]s|where|when|which|who|whose|how old|do i|am i)\b.*\b(?:my|i|me|mine)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_LONGEST_READ = 4000
_WORD = re.compile(r"[^\W_]+")
_COMMON_WORDS = (
    "a about am an and are can did do does for from had has have hey how i in is it know me mine my of on please "
    "remember say should so tell that the their there this to was we were what whats when where which who whose will "
    "would you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: the user's `name`, `all` that is known, or lines about certain `words`."""

    kind: str
    words: tuple[str, ...] = ()


def question_in(text: str) -> Question | None:
    """The question about the user or the conversation in a text, or None."""
    if _NAME.search(text):
        return Question("name", ("name",))
    if _ALL.search(text):
        return Question("all", ("user",))
    topic = _TOPIC.search(text)
    if topic:
        return Question("words", _keywords(topic["topic"]))
    if _PERSONAL.match(text):
        words = _keywords(text)
        return Question("words", words) if words else None
    return None


def answer_locally(turn: Turn, question: Question) -> str | None:
    """The answer from the blocks in the prompt, else from what the user said earlier; None when neither holds it."""
    if question.kind == "name":
        name = known_name(turn)
        return f"Your name is {name}." if name else None
    if question.kind == "all":
        return _everything(turn)
    return _from_blocks(turn, question.words) or _from_talk(turn.earlier, question.words)


def search_call(turn: Turn, question: Question) -> Call | None:
    """The search for a question nothing in sight answers; None when it cannot be made or was made already."""
    if SEARCH not in turn.tools or any(call.name == SEARCH for call in turn.calls):
        return None
    return Call(SEARCH, {"query": " ".join(question.words)})


def answer_from_search(turn: Turn, question: Question) -> str:
    """The answer after the search, which may be that there is none."""
    results = [part for part in turn.returns if part.name in (SEARCH, None)]
    for part in results:
        if part.status == "error":
            return f"I looked through our conversation, but the search failed: {result_text(part)}"
    lines = [line for part in results for line in _found_lines(result_text(part)) if line != turn.text]
    if question.kind == "name":
        name = _name_said(lines)
        return (
            f"Your name is {name}: I found that in our earlier conversation."
            if name
            else "You have not told me your name yet."
        )
    told = _from_talk(lines, question.words)
    return told or (
        "I know nothing about you yet."
        if question.kind == "all"
        else "I found nothing about that, neither in my memory nor in our conversation."
    )


def known_name(turn: Turn) -> str | None:
    """The user's name, from a block that is not about the agent itself, else from the conversation."""
    blocks = sorted((b for b in turn.blocks if b.label != "persona"), key=lambda block: block.label != "human")
    return next((name for block in blocks if (name := name_in(block.value))), None) or _name_said(turn.earlier)


def _name_said(texts: Iterable[str]) -> str | None:
    return next((fact.name for text in texts for fact in facts_in(text) if fact.name), None)


def _everything(turn: Turn) -> str | None:
    human = next((block for block in turn.blocks if block.label == "human" and block.value.strip()), None)
    if human:
        return "This is what I know about you: " + "; ".join(
            line.strip() for line in human.value.splitlines() if line.strip()
        )
    lines = [fact.line for text in reversed(turn.earlier) for fact in facts_in(text)]
    return "You have told me: " + "; ".join(lines) if lines else None


def _from_blocks(turn: Turn, words: tuple[str, ...]) -> str | None:
    lines = [
        line.strip(" -*\t") for block in turn.blocks if block.label != "persona" for line in block.value.splitlines()
    ]
    line = _best(lines, words)
    return f"From my memory: {line}" if line else None


def _from_talk(texts: Iterable[str], words: tuple[str, ...]) -> str | None:
    line = _best((sentence for text in texts for sentence in _sentences(text)), words)
    return f'You told me earlier: "{line}"' if line else None


def _sentences(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(text[:_LONGEST_READ]):
        if sentence.strip():
            yield sentence.strip()


def _is_statement(sentence: str) -> bool:
    return not sentence.endswith("?") and question_in(sentence) is None


def _best(lines: Iterable[str], words: tuple[str, ...]) -> str | None:
    """The first line that shares the most words with the question, if it shares at least half of them."""
    wanted = {_stem(word) for word in words}
    best, most = None, 0
    for line in lines:
        shared = len(wanted & {_stem(word) for word in _WORD.findall(line.lower())})
        if shared > most and shared * 2 >= len(wanted) and _is_statement(line):
            best, most = line, shared
    return best


def _keywords(text: str) -> tuple[str, ...]:
    return tuple(word for word in _WORD.findall(text.lower()) if word not in _COMMON and len(word) > 1)


def _stem(word: str) -> str:
    # Four letters tell "live" and "lives", "favourite" and "favorite" are the same word; good enough for one window.
    return word[:4]


def _found_lines(text: str) -> list[str]:
    """What the user said, out of a search result: JSON rows with a role and a content, or plain lines."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [line.strip() for line in text.splitlines() if line.strip()]
    return [line for row in _rows(data) if (line := _row_text(row))]


def _rows(data: Any) -> list[Any]:
    if isinstance(data, dict):
        data = next((value for value in data.values() if isinstance(value, list)), [data])
    return data if isinstance(data, list) else [data]


def _row_text(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row).strip()
    if row.get("role", "user") != "user":
        return ""
    return str(row.get("content") or row.get("message") or row.get("text") or "").strip()
