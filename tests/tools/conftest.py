"""Servers on either database."""

from tests.arrival.conftest import make_server, postgres_url

__all__ = ["make_server", "postgres_url"]
