"""Which tools may be called next: the rules of an agent, applied to what was called so far in this run.

Pure logic. Each call is counted once, and only if the rules allowed it: a refused call leaves everything as it was, so
that a model cannot get out of a rule by breaking it. When the rules leave no tool at all, that is the answer: the style
decides what it means (`letta.runtime.styles`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from letta.schemas.tool_rules import (
    ChildToolRule,
    ConditionalToolRule,
    ContinueToolRule,
    InitToolRule,
    MaxCountPerStepToolRule,
    ParentToolRule,
    RequiredBeforeExitToolRule,
    RequiresApprovalToolRule,
    TerminalToolRule,
    ToolRule,
)


@dataclass(frozen=True, slots=True)
class Permission:
    """The tools that may be called now, and whether one of them must be."""

    names: tuple[str, ...]
    required: bool


class RuleBook:
    """The rules of one agent during one run."""

    def __init__(self, rules: Iterable[ToolRule]) -> None:
        self._rules = list(rules)
        self._called: list[str] = []
        self._last_result = ""
        self._offered: tuple[str, ...] = ()

    def copy(self) -> "RuleBook":
        """The same rules and calls; a step that is rolled back leaves the original as it was."""
        twin = RuleBook(self._rules)
        twin._called, twin._last_result, twin._offered = list(self._called), self._last_result, self._offered
        return twin

    def note(self, name: str, result: str) -> None:
        """A tool was called and answered. It counts if it was allowed, whether or not it succeeded."""
        if self._offered and name not in self._offered:
            return
        if name not in self._permitted(self._offered or (name,)).names:
            return
        self._called.append(name)
        self._last_result = result

    def permitted(self, offered: Sequence[str]) -> Permission:
        """Which of the offered tools may be called next."""
        self._offered = tuple(offered)
        return self._permitted(offered)

    def _permitted(self, offered: Sequence[str]) -> Permission:
        first = self._first(offered)
        if first:
            return Permission(first, required=True)
        allowed = set(offered)
        narrowed = False
        for rule in self._rules:
            names = self._limit(rule, offered)
            if names is not None:
                allowed &= names
                narrowed = narrowed or self._forces(rule)
        return Permission(tuple(name for name in offered if name in allowed), required=narrowed and bool(allowed))

    def prefilled(self, name: str) -> dict[str, object]:
        """Arguments that a rule sets for the next call of a tool, over the model's own."""
        found: dict[str, object] = {}
        for rule in self._rules:
            if isinstance(rule, InitToolRule) and rule.tool_name == name and not self._called:
                found |= rule.args or {}
            elif isinstance(rule, ChildToolRule) and self._called[-1:] == [rule.tool_name]:
                for node in rule.child_arg_nodes or ():
                    if node.name == name:
                        found |= node.args or {}
        return found

    def ends_turn(self, name: str) -> bool:
        return any(isinstance(rule, TerminalToolRule) and rule.tool_name == name for rule in self._rules)

    def continues(self, name: str) -> bool:
        """Whether the turn goes on after this tool: a continue rule, or children that have to follow."""
        going_on = ContinueToolRule | ChildToolRule | ConditionalToolRule
        return any(isinstance(rule, going_on) and rule.tool_name == name for rule in self._rules)

    def still_required(self, offered: Iterable[str]) -> list[str]:
        """Tools that must be called before the turn may end."""
        having = set(offered)
        return [
            rule.tool_name
            for rule in self._rules
            if isinstance(rule, RequiredBeforeExitToolRule)
            and rule.tool_name in having
            and rule.tool_name not in self._called
        ]

    def needs_approval(self, name: str) -> bool:
        return any(isinstance(rule, RequiresApprovalToolRule) and rule.tool_name == name for rule in self._rules)

    @property
    def only_approvals(self) -> bool:
        """Whether parallel calls are possible: order means nothing when there are no rules about it."""
        return all(isinstance(rule, RequiresApprovalToolRule) for rule in self._rules)

    def _first(self, offered: Sequence[str]) -> tuple[str, ...]:
        if self._called:
            return ()
        starters = {rule.tool_name for rule in self._rules if isinstance(rule, InitToolRule)}
        return tuple(name for name in offered if name in starters)

    def _forces(self, rule: ToolRule) -> bool:
        """Whether a rule that limits the next call also asks for one: those that name what comes after the last."""
        last = self._called[-1] if self._called else None
        return isinstance(rule, ChildToolRule | ConditionalToolRule | ParentToolRule) and last == rule.tool_name

    def _limit(self, rule: ToolRule, offered: Sequence[str]) -> set[str] | None:
        """The tools a rule allows now, or None when it says nothing."""
        last = self._called[-1] if self._called else None
        match rule:
            case ChildToolRule() if last == rule.tool_name:
                return set(rule.children)
            case ConditionalToolRule() if last == rule.tool_name:
                return self._branch(rule)
            case ParentToolRule() if last != rule.tool_name:
                return set(offered) - set(rule.children)
            case ParentToolRule():
                return set(rule.children)
            case MaxCountPerStepToolRule() if self._called.count(rule.tool_name) >= rule.max_count_limit:
                return set(offered) - {rule.tool_name}
        return None

    def _branch(self, rule: ConditionalToolRule) -> set[str] | None:
        for expected, child in rule.child_output_mapping.items():
            if _same(expected, self._last_result):
                return {child}
        if rule.default_child is not None:
            return {rule.default_child}
        return set() if rule.require_output_mapping else None


def _same(expected: str, result: str) -> bool:
    """Whether a result is the expected one: as text, or as the same JSON value (true, 1, 2.5)."""
    if expected == result:
        return True
    try:
        left, right = orjson.loads(expected.lower()), orjson.loads(result.lower())
    except orjson.JSONDecodeError:
        return expected.strip().lower() == result.strip().lower()
    return bool(left == right and isinstance(left, bool) == isinstance(right, bool))
