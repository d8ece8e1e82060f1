"""A kill to raise in tests of the demo."""

from datetime import UTC, datetime

from flagbrake.model.kill import Kill, Scope


def a_kill() -> Kill:
    """A halting kill of the demo's agents."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Kill("k1", Scope.parse("agent:docs"), "production", "a test", "tester", at, 1)
