"""What a process knows of the store: the rows it read, what an earlier run saved, and how far kills had come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from flagbrake.errors import InvalidInput
from flagbrake.model.kill import KillSnapshot
from flagbrake.store.adopted import Adopted
from flagbrake.store.lkg import LastKnownGood, Saved
from flagbrake.store.snapshot import KillRow, Name, Row, standing
from flagbrake.store.witness import Witness, believe

log = logging.getLogger("flagbrake.store")


class Memory:
    """Changed by the feed alone; what it hands to the saver is a copy."""

    def __init__(self, file: LastKnownGood, *, shown: str, environment: str) -> None:
        self._file = file
        self._shown = shown
        self._environment = environment
        #: The good rows by name, and the kill rows as read.
        self.rows: dict[Name, Row] = {}
        self.kill_rows: tuple[KillRow, ...] = ()
        #: The kill epoch of those rows; -1 before any was read.
        self.epoch = -1
        #: Which generation of the watch they came from.
        self.generation = 0
        self.adopted: tuple[Adopted, ...] = ()
        self.identity: str | None = None
        #: What an earlier run saved, until the store has answered.
        self.saved: Saved | None = None
        self._witness: Witness | None = None
        self._closed = False

    def recall(self) -> dict[str, str]:
        """Read both files of an earlier run; return alarms, by name. What is damaged is not used."""
        alarms = {}
        try:
            self._witness = self._file.witness()
        except InvalidInput as error:
            alarms["witness"] = str(error)
        try:
            self.saved = self._file.read()
        except InvalidInput as error:
            alarms["last-known-good"] = str(error)
        return alarms

    def adopt_saved(self, saved: Saved) -> None:
        """Take what was saved as what is known."""
        self.rows, self.kill_rows, self.identity = dict(saved.rows), saved.kills, saved.identity

    def last(self, name: Name) -> Row | None:
        """The row that an earlier run saved."""
        return self.saved.rows.get(name) if self.saved is not None else None

    def saved_kills(self) -> KillSnapshot:
        """The kills that an earlier run saved; none if nothing was."""
        nothing = KillSnapshot(self._environment, 0)
        if self.saved is None:
            return nothing
        epoch = self.saved.kill_epoch
        return standing(self.saved.kills, environment=self._environment, epoch=epoch, known=nothing)[0]

    def keep(self, good: Iterable[Row]) -> None:
        """Remember rows that proved good, and forget those that are gone."""
        for row in good:
            if row.gone:
                self.rows.pop(row.name, None)
            else:
                self.rows[row.name] = row
        self.saved = None

    def believed(self, read: KillSnapshot, known: KillSnapshot) -> tuple[KillSnapshot, str | None]:
        """The kills to act on, and the alarm if the store lost some that were seen before."""
        belief = believe(read, witness=self._witness, identity=self.identity, known=known)
        if belief.another:
            log.warning("%s is another store than the one seen before; its kills count from now on.", self._shown)
        self._witness, self._closed = belief.witness, bool(belief.wrong)
        if not belief.wrong:
            return belief.kills, None
        alarm = f"{self._shown}: {belief.wrong}. Everything counts as killed."
        cure = f"flagbrake kills, kill again what must stand, then remove {self._file.witness_path}"
        return belief.kills, f"{alarm} Try: {cure}"

    def released(self) -> bool:
        """True once after somebody removed the witness of kills that the store lost."""
        if not self._closed or self._file.witness_path.exists():
            return False
        self._witness, self._closed = None, False
        return True

    def copy(self, revision: int) -> Callable[[], Saved] | None:
        """What to save, as of now; ``None`` while the store is not believed: what is on disk knows more."""
        if self._closed:
            return None
        # The epoch is that of the kill rows: an announced kill is saved when its row was read.
        saved = Saved(revision, self.epoch, self.identity, dict(self.rows), self.kill_rows)
        return lambda: saved
