"""Ways to reach an OpenHarness server."""

from openharness.transports.base import (
    AuthenticationError,
    ConnectionError,
    RateLimitError,
    Transport,
    TransportError,
)
from openharness.transports.rest import RestTransport
from openharness.transports.websocket import WebSocketTransport

__all__ = [
    "AuthenticationError",
    "ConnectionError",
    "RateLimitError",
    "RestTransport",
    "Transport",
    "TransportError",
    "WebSocketTransport",
]
