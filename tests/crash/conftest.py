"""The PostgreSQL of the store's tests."""

from tests.store.conftest import postgres_url

__all__ = ["postgres_url"]
