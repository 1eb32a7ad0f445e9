"""Every sample of the READMEs and the guide is a file that runs."""

import re
from pathlib import Path

from starlette.responses import JSONResponse
from tests import samples
from tests.openharness.recorder import event_stream, recording
from tests.openharness_letta.wire_server import WireServer

PAGES = ["packages/openharness/README.md", "packages/openharness-letta/README.md", "docs/openharness.md"]


def output(name: str, folder: Path, **environment: str) -> list[str]:
    """The lines a sample prints where a warning is an error."""
    return samples.output(f"openharness/{name}.py", folder, PYTHONWARNINGS="error", **environment).splitlines()


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (samples.ROOT / page).read_text(), re.DOTALL)


def test_every_sample_is_shown_somewhere_as_it_is() -> None:
    shown = {block for page in PAGES for block in blocks(page)}
    files = {file.read_text() for file in (samples.SAMPLES / "openharness").glob("*.py")}
    assert files <= shown
    # What is no file is an import, which is run as it stands.
    assert all(block.startswith("from openharness") and "\n" not in block.strip() for block in shown - files)
    for block in shown - files:
        exec(block, {})


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", (samples.ROOT / page).read_text()):
            assert (samples.ROOT / page).parent.joinpath(link).exists(), f"{page} links to {link}"


def test_own_adapter_sample_passes_every_check(tmp_path: Path) -> None:
    printed = output("own_adapter", tmp_path)
    assert printed[1] == "type='text' content=' said:'"
    assert len([line for line in printed if line.startswith("passed: ")]) == 16


def test_client_sample(tmp_path: Path) -> None:
    page = {"data": [], "total": 0, "limit": 20, "offset": 0, "has_more": False}
    with recording() as server:
        stream = event_stream('data: {"type": "text", "content": "Hi!"}', "", 'data: {"type": "done"}')
        server.answer(page, stream, JSONResponse({}, 404))
        printed = output("client", tmp_path, OPENHARNESS_BASE_URL=server.base_url)
    assert printed == ["agents: []", "text: Hi!", "refused: 404"]


def test_quick_start_sample(server: WireServer, tmp_path: Path) -> None:
    server.plans["Explain recursion"] = [
        {"call": "memory_insert", "args": {"n": 1}},
        [{"think": "Hm."}, "See recursion."],
    ]
    assert output("letta_quickstart", tmp_path, LETTA_BASE_URL=server.base_url) == [
        "You said: Hello!",
        "['human', 'persona']",
        "calls memory_insert with {'n': 1}",
        'got memory_insert ran with {"n": 1}',
        "(Hm.)",
        "See recursion.",
        "tokens: 15",
    ]


def test_tools_sample(server: WireServer, tmp_path: Path) -> None:
    call = {"call": "open_tickets", "args": {"customer": "Ann"}}
    server.plans["What is open for Ann?"] = [call, "The printer burns."]
    assert output("letta_tools", tmp_path, LETTA_BASE_URL=server.base_url) == [
        "open_tickets {'customer': 'Ann'} -> [\"Ann: printer on fire\"]",
        "The printer burns.",
        "['roll', 'open_tickets']",
    ]
    assert "roll" not in {tool["name"] for tool in server.tools.values()}


def test_approvals_sample(server: WireServer, tmp_path: Path) -> None:
    server.add_tool("pay", "custom")
    server.approval_needed = {"pay"}
    server.plans["Pay 500 to Ann."] = [{"call": "pay", "args": {"amount": 500}}, "Paid."]
    assert output("letta_approvals", tmp_path, LETTA_BASE_URL=server.base_url) == [
        "denied: more than 100 needs a person",
        "requires_approval",
        "Paid.",
    ]
