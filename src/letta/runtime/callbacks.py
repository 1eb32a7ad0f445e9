"""Callbacks: who asked for it is told when a run has ended, until the other side has taken it.

What is due stands in the runs' rows, so nothing is lost with a process, and every process makes some of the calls. The
signature follows the Standard Webhooks convention. Knows nothing of what runs do.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import logging
import random
from datetime import timedelta

import httpx2
import orjson

from letta.errors import InvalidRequest, StoreUnavailable
from letta.runtime.events import Finished
from letta.store import callbacks
from letta.store.access import Database
from letta.store.callbacks import Call
from letta.store.query import now
from letta.store.runs import Work
from letta.tools.outbound import AddressRefused, guarded_client
from letta.version import __version__

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds the other side has for an answer."""
_LEASE = timedelta(seconds=60)
_AT_ONCE = 16
_LOOK = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 3600.0
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how such keys are marked, no key
_GONE = 410


class Callbacks:
    """Makes the calls. `attempts` is how often one is tried, `pause` the seconds before the second try."""

    def __init__(
        self,
        database: Database,
        *,
        secret: str | None,
        attempts: int,
        allow_private: bool,
        pause: float = _FIRST_PAUSE,
    ) -> None:
        self._database = database
        self._key = None if secret is None else _key(secret)
        self._attempts, self._pause = attempts, pause
        self._http = guarded_client(allow_private=allow_private, timeout=TIMEOUT)
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="callbacks")

    async def stop(self) -> None:
        """Stop; a call that is under way is made again by whoever looks next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._http.aclose()

    async def after_run(self, work: Work, finished: Finished) -> None:
        """A run ended here: its callback, if it has one, is due now."""
        if work.request.get("callback_url"):
            self._due.set()

    async def _work(self) -> None:
        while True:
            self._due.clear()
            try:
                pause = await self._until_next()
                if pause == 0:
                    calls = await self._database.write(callbacks.take, _AT_ONCE, _LEASE)
                    await asyncio.gather(*(self._make(call) for call in calls))
                    continue
            except StoreUnavailable:
                log.debug("the database does not answer; callbacks wait")
                pause = _LOOK
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), pause)

    async def _until_next(self) -> float:
        """Seconds until there may be something to do; other processes' runs are found by looking."""
        due = await self._database.read(callbacks.next_due)
        if due is None:
            return _LOOK
        return min(_LOOK, max(0.0, (due - now()).total_seconds()))

    async def _make(self, call: Call) -> None:
        status, error, final = await self._post(call)
        again_at = None
        if error is not None and not final and call.attempt < self._attempts:
            pause = min(self._pause * 2 ** (2 * (call.attempt - 1)), _LONGEST_PAUSE)
            again_at = now() + timedelta(seconds=pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
        if error is not None:
            log.info("callback of run %s to %s failed (try %d): %s", call.run_id, call.url, call.attempt, error)
        await self._database.write(callbacks.record, call.run_id, status=status, error=error, again_at=again_at)

    async def _post(self, call: Call) -> tuple[int | None, str | None, bool]:
        """The status, what went wrong if anything did, and whether another try makes no sense."""
        body = orjson.dumps(call.body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"open-letta/{__version__}",
            **signature(self._key, call.run_id, int(now().timestamp()), body),
        }
        try:
            async with self._http.stream("POST", call.url, content=body, headers=headers) as answer:
                status = answer.status_code
        except InvalidRequest as refused:
            return None, refused.message, isinstance(refused, AddressRefused)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return None, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, False
        except Exception as error:
            # One that goes wrong in a way nobody thought of must not keep all others from being made.
            log.exception("the callback of run %s failed", call.run_id)
            return None, type(error).__name__, False
        if 200 <= status < 300:
            return status, None, True
        return status, f"the other side answered {status}", status == _GONE


def signature(key: bytes | None, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that say what is called back and when, signed if there is a key."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if key is not None:
        signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return headers


def _key(secret: str) -> bytes:
    """Raises letta.errors.InvalidRequest."""
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise InvalidRequest("callback_secret: what follows whsec_ is not base64") from None
