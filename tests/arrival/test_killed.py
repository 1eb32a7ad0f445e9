"""A killed server: what was sent again meanwhile is answered once, and who waits to be called back is called."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
from tests.cli.process import Process, server

MESSAGE = {"messages": [{"role": "user", "content": "!wait 2 hello", "otid": "o-1"}]}


def kill(process: Process) -> None:
    process.running.kill()
    process.end()


def made(http: httpx2.Client) -> str:
    agent_id: str = http.post("/v1/agents/", json={"model": "letta/scripted"}).json()["id"]
    return agent_id


def test_message_that_is_sent_again_after_a_kill_is_answered_once(tmp_path: Path) -> None:
    with server(tmp_path) as (url, process), httpx2.Client(base_url=url) as http:
        agent_id = made(http)
        run = http.post(f"/v1/agents/{agent_id}/messages/async", json=MESSAGE).json()
        kill(process)
    with server(tmp_path) as (url, _), httpx2.Client(base_url=url, timeout=30) as http:
        answer = http.post(f"/v1/agents/{agent_id}/messages", json=MESSAGE).json()
        runs = http.get("/v1/runs/", params={"agent_id": agent_id}).json()
        said = http.get(f"/v1/agents/{agent_id}/messages").json()
    assert [(one["id"], one["status"]) for one in runs] == [(run["id"], "completed")]
    assert [message["message_type"] for message in said[1:]] == ["user_message", "assistant_message"]
    assert answer["messages"][-1]["id"] == said[-1]["id"]


def test_callback_is_made_after_a_kill(tmp_path: Path) -> None:
    called: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            called.append(str(self.headers["webhook-id"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Listener) as listener:
        listener.timeout = 30
        with server(tmp_path) as (url, process), httpx2.Client(base_url=url) as http:
            agent_id = made(http)
            body = {**MESSAGE, "callback_url": f"http://127.0.0.1:{listener.server_port}/"}
            run = http.post(f"/v1/agents/{agent_id}/messages/async", json=body).json()
            kill(process)
        with server(tmp_path):
            waiting = threading.Thread(target=listener.handle_request)
            waiting.start()
            waiting.join()
    assert called == [run["id"]]
