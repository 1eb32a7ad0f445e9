"""The floor: the least that a durable streamed step costs in Python. `python -m benchmarks.floor PORT FILE`.

HTTP in, the whole context serialised, one model call, its stream relayed, one fsynced commit: and nothing else. No
routing, no validation, no runs, no memory, no tools, no search, no traces.
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import orjson
import uvicorn

from benchmarks.talk import SYSTEM, length, said

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]
_JSON = [(b"content-type", b"application/json")]


class Floor:
    """The application. `POST /step/{tokens}/{name}` talks in a context of so many tokens, `POST /write` only writes."""

    def __init__(self, provider: str, file: str) -> None:
        self._url = f"{provider}/chat/completions"
        self._http = httpx2.AsyncClient(timeout=60, trust_env=False, limits=httpx2.Limits(max_connections=None))
        self._talks: dict[str, list[dict[str, str]]] = {}
        self._thread = ThreadPoolExecutor(1)
        self._file = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._file.execute(f"PRAGMA {pragma}")
        self._file.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, talk TEXT, body TEXT)")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("this program speaks HTTP only")
        body = await _body(receive)
        _, kind, *rest = scope["path"].split("/")
        if kind == "step":
            await self._step(rest[0], "/".join(rest), orjson.loads(body), send)
        elif kind == "write":
            await self._commit("write", body.decode())
            await _reply(send, b"{}")
        else:
            await _reply(send, b'{"status":"ok"}')

    async def _step(self, tokens: str, name: str, request: dict[str, str], send: Send) -> None:
        talk = self._talks.setdefault(name, [])
        if not talk:
            talk.append({"role": "system", "content": SYSTEM})
            roles = ("user", "assistant")
            talk += [{"role": roles[number % 2], "content": said(number)} for number in range(length(int(tokens)))]
        asked = {"role": "user", "content": request["input"]}
        body = orjson.dumps({"model": request["model"], "stream": True, "messages": [*talk, asked]})
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        reply = await self._relay(body, send)
        talk += [asked, {"role": "assistant", "content": reply}]
        await self._commit(name, orjson.dumps(talk[-2:]).decode())
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _relay(self, body: bytes, send: Send) -> str:
        words: list[str] = []
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        request = self._http.build_request("POST", self._url, content=body, headers=headers)
        response = await self._http.send(request, stream=True)
        rest = b""
        async for chunk in response.aiter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            frames = b"".join(_frame(line[6:], words) for line in lines if line.startswith(b"data: {"))
            if frames:
                await send({"type": "http.response.body", "body": frames, "more_body": True})
        await response.aclose()
        return "".join(words)

    async def _commit(self, name: str, body: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, name, body)

    def _write(self, name: str, body: str) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        self._file.execute("INSERT INTO messages (talk, body) VALUES (?, ?)", (name, body))
        self._file.execute("COMMIT")


def _frame(data: bytes, words: list[str]) -> bytes:
    choices = orjson.loads(data)["choices"]
    if not choices or "content" not in choices[0]["delta"]:
        return b""
    words.append(choices[0]["delta"]["content"])
    return b"data: " + orjson.dumps({"message_type": "assistant_message", "content": words[-1]}) + b"\n\n"


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _reply(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _JSON})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    application = Floor(os.environ["OPENAI_BASE_URL"], sys.argv[2])
    uvicorn.run(application, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
