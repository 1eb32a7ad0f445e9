"""A fake model provider: the chat completions protocol over raw sockets, answering with bytes made beforehand.

`python -m benchmarks.provider PORT`. Knows no JSON at run time and reads of a request only the model's name, so that it
costs next to nothing beside what is measured.
"""

import asyncio
import json
import re
import sys
from functools import lru_cache
from typing import cast

import uvloop

from benchmarks.talk import model

_MODEL = re.compile(rb'"model": ?"bench-(\d+)-(\d+)-(\d+)"')
_LENGTH = re.compile(rb"content-length: ?(\d+)", re.IGNORECASE)
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req-bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_WINDOW = 1_000_000
_LISTED = [
    model(tokens=tokens, latency_ms=latency, gap_ms=gap)
    for tokens in (20, 50, 500)
    for latency in (0, 50)
    for gap in (0, 2)
]


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _event(fields: dict[str, object], choices: list[dict[str, object]]) -> bytes:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    return _chunk(b"data: " + json.dumps({**head, "choices": choices, **fields}).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@lru_cache(maxsize=64)
def pieces(tokens: int) -> tuple[list[bytes], bytes]:
    """The chunks of an answer of so many tokens, and its last one."""
    words = [f" word{number}" for number in range(tokens)]
    told = [_event({}, [{"index": 0, "delta": {"content": word}, "finish_reason": None}]) for word in words]
    return told, _event({}, [{"index": 0, "delta": {}, "finish_reason": "stop"}])


def _usage(length: int, tokens: int) -> bytes:
    """The end of a stream: four bytes of the request count as a token."""
    prompt = length // 4
    usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
    return _event({"usage": usage}, []) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Provider(asyncio.Protocol):
    """One connection: any number of requests, one after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            found = _LENGTH.search(self._received, 0, head)
            self._wanted = head + 4 + (int(found[1]) if found else 0)
        if len(self._received) >= self._wanted:
            request, length = bytes(self._received[:1_000]), self._wanted
            self._received.clear()
            self._wanted = 0
            self._answer(request, length)

    def _answer(self, request: bytes, length: int) -> None:
        assert self._transport is not None
        if request.startswith(b"GET"):
            cards = [{"id": name, "object": "model", "context_length": _WINDOW} for name in _LISTED]
            self._transport.write(_json(json.dumps({"object": "list", "data": cards}).encode()))
            return
        found = _MODEL.search(request)
        tokens, latency, gap = (int(number) for number in found.groups()) if found else (1, 0, 0)
        if latency:
            asyncio.get_running_loop().call_later(latency / 1000, self._begin, tokens, gap, length)
        else:
            self._begin(tokens, gap, length)

    def _begin(self, tokens: int, gap_ms: int, length: int) -> None:
        assert self._transport is not None
        told, last = pieces(tokens)
        end = last + _usage(length, tokens)
        if gap_ms:
            self._transport.write(_STREAM)
            self._drip(told, end, 0, gap_ms / 1000)
        else:
            self._transport.write(b"".join((_STREAM, *told, end)))

    def _drip(self, told: list[bytes], end: bytes, number: int, gap: float) -> None:
        assert self._transport is not None
        if number == len(told):
            self._transport.write(end)
            return
        self._transport.write(told[number])
        asyncio.get_running_loop().call_later(gap, self._drip, told, end, number + 1, gap)


async def serve(port: int) -> None:
    """Answer on a local port until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
