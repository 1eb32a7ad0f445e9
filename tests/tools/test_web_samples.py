"""The samples of the pages about web tools, Composio, tool rules and wrapped tools run as they stand."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests import samples

ANSWERS: dict[str, Any] = {
    "/search": {"results": [{"title": "Tea", "url": "https://tea.test", "content": "A drink."}]},
    "/api/v3.1/tools/GITHUB_CREATE_AN_ISSUE": {
        "slug": "GITHUB_CREATE_AN_ISSUE",
        "description": "Creates an issue.",
        "version": "20260101_00",
        "input_parameters": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
    },
    "/api/v3.1/tools/execute/GITHUB_CREATE_AN_ISSUE": {"data": {"number": 7}, "successful": True},
}
PRINTS = {
    "web_tools/search.py": [
        '{"query":"tea","engine":"SearXNG","results":[{"title":"Tea","url":"https://tea.test","text":"A drink."}]}'
    ],
    "composio/issue.py": ["github_create_an_issue external_composio", '{"number":7}'],
    "tool_rules/order.py": [
        "error Error: your tool rules do not allow refund now. Allowed: look_up.",
        "success A7: paid, not sent",
        "success A7: refunded",
        "error Error: your tool rules do not allow refund now. Allowed: look_up.",
    ],
    "wrapping_tools/wrapped.py": ["word_count ['langchain-core']"],
}


class _Handler(BaseHTTPRequestHandler):
    """Answers for SearXNG and Composio."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = json.dumps(ANSWERS[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Tests are quiet."""


@contextmanager
def internet() -> Iterator[str]:
    """The address of a server that stands for those the tools call."""
    web = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_port}"
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


@pytest.mark.parametrize("sample", PRINTS)
def test_sample_prints_what_it_should(sample: str, tmp_path: Path) -> None:
    with internet() as web:
        printed = samples.lines(sample, tmp_path, SEARXNG_URL=web, COMPOSIO_BASE_URL=web, COMPOSIO_API_KEY="key")
    assert printed == PRINTS[sample]


def test_rules_page_shows_what_its_sample_prints() -> None:
    printed = "\n".join(PRINTS["tool_rules/order.py"])
    assert f"```text\n{printed}\n```" in (samples.ROOT / "docs/tool-rules.md").read_text(encoding="utf-8")
