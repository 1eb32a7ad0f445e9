"""Whether the server is up, and which one it is."""

from letta.schemas.common import Wire


class Health(Wire):
    """`status` is `ok` while the server answers."""

    version: str
    status: str = "ok"
