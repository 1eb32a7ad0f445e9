"""The sample of docs/mcp.md runs as it stands; it starts the page's other one, an MCP server."""

from pathlib import Path

from tests import samples


def test_sample_gives_an_agent_the_tools_of_a_server(tmp_path: Path) -> None:
    assert samples.lines("mcp/use_tools.py", tmp_path) == [
        "['current_year']",
        "['tool_call_message', 'tool_return_message', 'assistant_message']",
    ]
