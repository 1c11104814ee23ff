"""The PostgreSQL server that the store's tests start, here too."""

from __future__ import annotations

from ..store.conftest import postgres_server  # noqa: F401, TID252 - a fixture
