"""An HTTP server that keeps what it is asked and answers what it is told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.openharness.serving import serving


@dataclass
class Asked:
    """One request as it arrived; `path` is as sent, quoted."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Recorder:
    """Answers are taken from `answers` in turn; when they are used up the last one stays."""

    base_url: str = ""
    answers: list[Response] = field(default_factory=lambda: [JSONResponse({})])
    asked: list[Asked] = field(default_factory=list)

    def answer(self, *answers: Any) -> None:
        """What to say next: responses as they are, anything else as JSON."""
        self.answers = [given if isinstance(given, Response) else JSONResponse(given) for given in answers]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.asked.append(
            Asked(
                request.method,
                scope["raw_path"].decode(),
                dict(request.query_params),
                dict(request.headers),
                await request.body(),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await answer(scope, receive, send)


@contextmanager
def recording() -> Iterator[Recorder]:
    """A recorder at work; its `base_url` has a path, as real ones do."""
    recorder = Recorder()
    with serving(recorder) as origin:
        recorder.base_url = f"{origin}/v1"
        yield recorder


def event_stream(*lines: str) -> Response:
    """A finished event stream."""
    return Response("\n".join([*lines, "", ""]), media_type="text/event-stream")
