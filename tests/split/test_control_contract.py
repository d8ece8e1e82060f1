"""Split's control keeps the contract, over the emulator, with the real SDK showing what came of each change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flagbrake.model.flag import Flag
from flagbrake.ports.adapter import AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake_contract import ControlContract, Harness
from flagbrake_split import SplitAdapter
from flagbrake_split.emulator import SplitEmulator
from flagbrake_split.translate import definition_from_flag
from tests.split.vendor import ENVIRONMENT, vendor


def control_of(split: SplitEmulator, environment: str = ENVIRONMENT, **options: object) -> FlagControl:
    """The control, as a settings file would make it."""
    settings = AdapterSettings("Default", environment, {**split.admin_settings, **options})
    return SplitAdapter().control(settings)


def seed(split: SplitEmulator, flag: Flag) -> None:
    """Put a flag in by the back door, as the management side keeps it."""
    definition = definition_from_flag(flag).result
    split.put_definition(definition, ENVIRONMENT, description=flag.description, tags=flag.tags)


def audited(split: SplitEmulator, key: str) -> list[tuple[str, str]]:
    """What the vendor's history says of a flag: in whose name, and why."""
    return [(said.title, said.comment) for said in split.history if said.flag == key]


@contextmanager
def refused(split: SplitEmulator, status: int, body: object = None) -> Iterator[None]:
    """Every write is refused with this status."""
    faults = [
        split.faults.add("/internal/*", method=method, status=status, body=body)
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ]
    try:
        yield
    finally:
        for fault in faults:
            split.faults.clear(fault)


@contextmanager
def approving(split: SplitEmulator) -> Iterator[None]:
    """Changes need an approval."""
    split.require_approvals(ENVIRONMENT)
    try:
        yield
    finally:
        split.require_approvals(ENVIRONMENT, on=False)


@contextmanager
def limited(split: SplitEmulator) -> Iterator[None]:
    """Writes meet a rate limit that takes a minute."""
    fault = split.faults.add("/internal/*", method="PUT", status=429, headers={"X-RateLimit-Reset-Seconds-Org": "60"})
    try:
        yield
    finally:
        split.faults.clear(fault)


@contextmanager
def control_harness() -> Iterator[Harness]:
    """For the contract."""
    with (
        vendor() as made,
        Harness(
            made.provider,
            lambda flag: seed(made.emulator, flag),
            control=control_of(made.emulator, admin_timeout=2),
            remove=lambda key: made.emulator.delete(key, ENVIRONMENT),
            settle=made.settle,
            break_vendor=made.emulator.stop,
            restore_vendor=made.emulator.start,
            audited=lambda key: audited(made.emulator, key),
            refuse={
                "NotAllowed": lambda: refused(made.emulator, 403),
                "RetryLater": lambda: limited(made.emulator),
                "ApprovalRequired": lambda: approving(made.emulator),
            },
            secrets=(made.emulator.sdk_key(ENVIRONMENT), made.emulator.admin_key),
            patience=15.0,
        ) as ready,
    ):
        yield ready


class TestSplitControl(ControlContract):
    """Split's management side."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with control_harness() as made:
            yield made
