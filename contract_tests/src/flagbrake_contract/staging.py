"""Rules that report for one minor version before they fail."""

from __future__ import annotations

from flagbrake_contract.rules import Check


class staged:  # noqa: N801 - reads as a decorator
    """``@staged(required="0.3")`` under ``@rule``: a breach is a warning until flagbrake-contract 0.3."""

    def __init__(self, *, required: str) -> None:
        self.required = required

    def __call__(self, check: Check) -> Check:
        """Mark the check; ``rule`` reads the mark."""
        check.__required__ = self.required  # type: ignore[attr-defined]  # a mark on a function
        return check


def is_due(required: str, version: str) -> bool:
    """True if a rule that is required from ``required`` on fails in ``version`` (``""`` is always due)."""
    if not required:
        return True
    return _minor(version) >= _minor(required)


def _minor(version: str) -> tuple[int, int]:
    major, minor, *_ = (*version.split("."), "0")
    return int(major), int(minor)
