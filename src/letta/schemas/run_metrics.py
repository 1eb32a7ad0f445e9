"""What a run cost in time, and what it did. Knows nothing of how it is measured."""

from letta.schemas.common import DEFAULT_ORGANIZATION_ID, Wire


class RunMetrics(Wire):
    """Numbers of one run; durations are nanoseconds, `run_start_ns` counts from 1970. Null is "not measured".

    `tools_used` are ids, `tool_names` the names of the tools called, both once each in the order of the first call.
    """

    id: str
    organization_id: str | None = DEFAULT_ORGANIZATION_ID
    agent_id: str | None = None
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    run_start_ns: int | None = None
    run_ns: int | None = None
    ttft_ns: int | None = None
    llm_request_ns: int | None = None
    tool_execution_ns: int | None = None
    num_steps: int = 0
    tools_used: list[str] | None = None
    tool_names: list[str] | None = None
