"""Whether the server is up, and which one it is."""

from typing import Literal

from letta.schemas.common import Wire


class Health(Wire):
    """`status` is `ok` while the server answers."""

    version: str
    status: str = "ok"


class NotReady(Wire):
    """Why no requests should be sent to this server now."""

    version: str
    status: Literal["unavailable"] = "unavailable"
    reasons: list[str]
