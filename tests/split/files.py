"""Split's localhost mode for tests: a folder with a file of flags, and the real SDK over it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flagbrake.model.flag import Flag
from flagbrake_contract import Harness, ProviderCapability, all_but
from flagbrake_split.provider import SplitProvider
from flagbrake_split.sdk_options import Mode, SdkOptions
from flagbrake_split.translate import split_from_flag
from tests.split.vendor import DEVIATIONS
from tests.support.waiting import wait_until

#: Nobody asks for a key, and a file is there or not.
CAPABILITIES: Final = all_but(ProviderCapability.AUTHENTICATION, ProviderCapability.HANGING_INIT)
#: What Split cannot do, without a rule of controls and kills.
EVALUATING: Final = {rule: why for rule, why in DEVIATIONS.items() if not rule.startswith("common.")}


class Folder:
    """A file as the SDK downloads it, written in one piece, and the segments beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "flags.json"
        self.flags: dict[str, Any] = {}
        self.number = 0
        self.providers: list[SplitProvider] = []
        self.write()

    def provider(self, **options: Any) -> SplitProvider:
        """The provider over the real SDK, looking often."""
        settings: dict[str, Any] = {"file": str(self.file), "refresh": 0.02, "timeout": 3.0, **options}
        made = SplitProvider(SdkOptions(mode=Mode.LOCALHOST, **settings))
        self.providers.append(made)
        return made

    def put(self, split: dict[str, Any]) -> None:
        """One flag, as SDKs know it."""
        self.number += 1
        self.flags[split["name"]] = {**split, "changeNumber": self.number}
        self.write()

    def seed(self, flag: Flag) -> None:
        """One flag of ours."""
        self.put(split_from_flag(flag).result)

    def remove(self, key: str) -> None:
        """A flag leaves a file as it leaves Split: archived."""
        if key in self.flags:
            self.put({**self.flags[key], "status": "ARCHIVED"})

    def damage(self, key: str) -> None:
        """A flag that the SDK cannot read."""
        self.put({"name": key, "conditions": "none"})

    def put_segment(self, name: str, *keys: str) -> None:
        """A segment; keys that were in it before and are not given leave it."""
        path = self.path / f"{name}.json"
        before = json.loads(path.read_text())["added"] if path.exists() else []
        self.number += 1
        gone = [key for key in before if key not in keys]
        _replace(path, {"name": name, "added": keys, "removed": gone, "since": -1, "till": self.number})

    def write(self) -> None:
        """The whole file."""
        empty = {"s": -1, "t": -1, "d": []}
        _replace(self.file, {"ff": {"s": -1, "t": self.number, "d": list(self.flags.values())}, "rbs": empty})

    def settle(self) -> None:
        """Return when every started provider has what the file has."""
        for provider in self.providers:
            wait_until(lambda provider=provider: self._has(provider), timeout=20, why="the file to be read")

    def _has(self, provider: SplitProvider) -> bool:
        connection = provider._connection
        if not provider._serving or connection is None or connection.asker is None:
            return True
        if connection.storage().get_change_number() < self.number:
            return False
        with provider._received._writing:  # the SDK has it; whoever brings it over to us is through now
            return True

    def hide(self) -> None:
        """The file is away."""
        self.file.rename(self.file.with_suffix(".hidden"))

    def show(self) -> None:
        """The file is back."""
        self.file.with_suffix(".hidden").rename(self.file)


def _replace(path: Path, data: Any) -> None:
    other = path.with_suffix(".new")
    other.write_text(json.dumps(data))
    other.replace(path)


@contextmanager
def folder() -> Iterator[Folder]:
    """A new one; what was made over it is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="flagbrake-split-") as path:
        made = Folder(Path(path))
        try:
            yield made
        finally:
            for provider in made.providers:
                provider.shutdown()


@contextmanager
def harness() -> Iterator[Harness]:
    """For the contract, its evaluation part: nothing is written through a file."""
    with (
        folder() as made,
        Harness(
            made.provider,
            made.seed,
            remove=made.remove,
            settle=made.settle,
            break_vendor=made.hide,
            restore_vendor=made.show,
            damage=made.damage,
            patience=15.0,
            capabilities=CAPABILITIES,
            known_deviations=EVALUATING,
        ) as ready,
    ):
        yield ready
