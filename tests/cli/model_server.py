"""A model server with one obedient model, in OpenAI's protocol, on a thread: what `letta doctor` tries out."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    calls_tools = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        self._send("application/json", json.dumps({"data": [{"id": "big"}, {"id": "obedient-mini"}]}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chunks = [{"choices": [{"index": 0, "delta": self._delta(asked), "finish_reason": None}]}]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        frames = "".join(f"data: {json.dumps({'model': asked['model'], **chunk})}\n\n" for chunk in chunks)
        self._send("text/event-stream", f"{frames}data: [DONE]\n\n".encode())

    def _delta(self, asked: dict[str, Any]) -> dict[str, Any]:
        last = asked["messages"][-1]
        if self.calls_tools and last["role"] == "user" and "memory_insert" in json.dumps(last["content"]):
            arguments = json.dumps({"label": "notes", "new_string": "checked"})
            call = {"name": "memory_insert", "arguments": arguments}
            return {
                "role": "assistant",
                "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": call}],
            }
        return {"role": "assistant", "content": "ready"}

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def model_server(*, calls_tools: bool = True) -> Iterator[str]:
    """The base URL of a server with the models `big` and `obedient-mini`."""
    handler = type("Handler", (_Handler,), {"calls_tools": calls_tools})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/v1"
        finally:
            listening.shutdown()
            thread.join()
