"""Rules on the order of tool calls, as data. What they do is decided where tools are chosen, not here."""

from typing import Annotated, Literal

from pydantic import Field

from letta.schemas.common import JsonObject, Size, Wire


class ToolRuleBase(Wire):
    """What every rule says: which tool it is about, and how to tell the model (a Jinja text, else the default)."""

    tool_name: str
    prompt_template: str | None = None


class InitToolRule(ToolRuleBase):
    """One of the tools that may be called first; `args` are filled in over the model's own."""

    type: Literal["run_first"] = "run_first"
    args: JsonObject | None = None


class ChildArgNode(Wire):
    """Arguments filled in when a child tool is called."""

    name: str
    args: JsonObject | None = None


class ChildToolRule(ToolRuleBase):
    """After the tool, only its children may be called."""

    type: Literal["constrain_child_tools"] = "constrain_child_tools"
    children: list[str]
    child_arg_nodes: list[ChildArgNode] | None = None


class ParentToolRule(ToolRuleBase):
    """The children may be called only directly after the tool."""

    type: Literal["parent_last_tool"] = "parent_last_tool"
    children: list[str]


class ConditionalToolRule(ToolRuleBase):
    """After the tool, its output picks the next one; `default_child` if nothing matches, or none if it must match."""

    type: Literal["conditional"] = "conditional"
    child_output_mapping: dict[str, str]
    default_child: str | None = None
    require_output_mapping: bool = False


class ContinueToolRule(ToolRuleBase):
    """The turn goes on after the tool."""

    type: Literal["continue_loop"] = "continue_loop"


class TerminalToolRule(ToolRuleBase):
    """The turn ends after the tool."""

    type: Literal["exit_loop"] = "exit_loop"


class RequiredBeforeExitToolRule(ToolRuleBase):
    """The turn may not end before the tool was called."""

    type: Literal["required_before_exit"] = "required_before_exit"


class MaxCountPerStepToolRule(ToolRuleBase):
    """At most `max_count_limit` calls of the tool in one run (the wire name says step)."""

    type: Literal["max_count_per_step"] = "max_count_per_step"
    max_count_limit: Size


class RequiresApprovalToolRule(ToolRuleBase):
    """A human approves each call of the tool."""

    type: Literal["requires_approval"] = "requires_approval"


ToolRule = Annotated[
    InitToolRule
    | ChildToolRule
    | ParentToolRule
    | ConditionalToolRule
    | ContinueToolRule
    | TerminalToolRule
    | RequiredBeforeExitToolRule
    | MaxCountPerStepToolRule
    | RequiresApprovalToolRule,
    Field(discriminator="type"),
]
