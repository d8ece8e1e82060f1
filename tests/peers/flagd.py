"""flagd's provider on a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

from flagbrake.model.clause import TARGETING_KEY, Op
from flagbrake.model.flag import Flag
from flagbrake_contract import Harness, ProviderCapability
from tests.peers.kit import Fleet, NotExpressible, Peer
from tests.proofs.flagd_twin import NUMBER_OPS, TEXT_OPS, VERSION_OPS, to_flagd

Cap = ProviderCapability
_OPS = {*NUMBER_OPS, *TEXT_OPS, *VERSION_OPS, Op.IS}


def definition(flag: Flag) -> dict[str, Any]:
    """The flag in flagd's words."""
    if flag.prerequisites:
        raise NotExpressible("flagd has no prerequisites")
    for clause in (clause for rule in flag.rules for clause in rule.clauses):
        if clause.op not in _OPS:
            raise NotExpressible(f"flagd has no operator for {clause.op.value}")
    if not flag.on and flag.off_variant is not None:
        raise NotExpressible("a disabled flag of flagd has no off variant: it serves the caller's default")
    data = to_flagd(flag)
    if "targeting" in data:
        data["targeting"] = _with_lists(data["targeting"])
    return data


def _with_lists(logic: Any) -> Any:
    """Membership in a list that an attribute holds has words of its own; a text equals a text by ``==``."""
    match logic:
        case {"===": [{"var": str(name)}, str(value)]}:
            return {"==": [{"var": name}, value]}
        case {"in": [{"var": str(name)}, [value]]} if name != TARGETING_KEY:
            return {"or": [logic, {"some": [{"var": name}, {"===": [{"var": ""}, value]}]}]}
        case dict():
            return {key: _with_lists(value) for key, value in logic.items()}
        case list():
            return [_with_lists(value) for value in logic]
        case _:
            return logic


@contextmanager
def flagd(folder: Path) -> Iterator[Harness]:
    """The file is replaced at each change; the provider looks every 50 ms."""
    file, away = folder / "flags.json", folder / "away.json"
    flags: dict[str, Any] = {}
    fleet = Fleet()
    written = 0.0

    def write() -> None:
        nonlocal written
        new = folder / "new.json"
        new.write_text(json.dumps({"flags": flags}), encoding="utf-8")
        # A file system's clock may tick every few milliseconds only.
        stamp = max(time.time_ns(), int(written * 1e9) + 2_000_000)
        os.utime(new, ns=(stamp, stamp))
        new.replace(file)
        written = file.stat().st_mtime

    def seed(flag: Flag) -> None:
        flags[flag.key] = definition(flag)
        write()

    def damage(key: str) -> None:
        flags[key] = {"state": "ENABLED", "variants": "none", "defaultVariant": 5}
        write()

    def remove(key: str) -> None:
        del flags[key]
        write()

    def make() -> Any:
        return fleet.add(
            FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file), deadline_ms=50)
        )

    def seen(provider: Any) -> bool:
        return not file.exists() or provider.resolver.connector.last_modified >= written

    write()
    yield Harness(
        make,
        seed,
        remove=remove,
        damage=damage,
        settle=lambda: fleet.settle(seen),
        break_vendor=lambda: file.replace(away),
        restore_vendor=lambda: away.replace(file) if not file.exists() else None,
        capabilities=FLAGD.capabilities,
        patience=3.0,
    )


FLAGD = Peer(
    "flagd",
    "flagd (FILE)",
    ("openfeature-provider-flagd", "openfeature-flagd-core"),
    "FILE mode, looked at every 50 ms; the vendor is away when the file is",
    flagd,
    {
        Cap.PREREQUISITES: "flagd has no prerequisites",
        Cap.AUTHENTICATION: "a file asks for no key",
        Cap.HANGING_INIT: "a file answers or is not there",
    },
)
