"""The SQL store: flags, kills, rollouts, outcomes and audit of one environment, on SQLite or PostgreSQL."""

from flagbrake.store.engine import notify_channel
from flagbrake.store.store import Store, open_store

__all__ = ["Store", "notify_channel", "open_store"]
