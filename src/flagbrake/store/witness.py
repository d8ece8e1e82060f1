"""Whether a store's kills may be believed: never, when it reads below what was seen of it before. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from flagbrake.model.kill import KillSnapshot
from flagbrake.store.snapshot import everything


@dataclass(frozen=True, slots=True)
class Witness:
    """The highest kill epoch this machine saw, and of which store.

    ``identity`` is the first link of the store's audit chain, which no two stores share: empty before
    its first entry, ``None`` when the role may not read it.
    """

    identity: str | None
    kill_epoch: int


@dataclass(frozen=True, slots=True)
class Belief:
    """The kills to act on, what to remember, and what is wrong (a fact), if anything."""

    kills: KillSnapshot
    witness: Witness
    wrong: str = ""
    another: bool = False


def believe(read: KillSnapshot, *, witness: Witness | None, identity: str | None, known: KillSnapshot) -> Belief:
    """Weigh what a store reads against what was seen of it.

    A store below the witnessed epoch has lost a kill or the lifting of one, and nobody knows which: what
    was known to stand goes on standing, and everything counts as killed. Another store (one that was made
    anew under the same address) starts from nothing.
    """
    another = witness is not None and bool(witness.identity) and identity is not None and identity != witness.identity
    if witness is None or another or read.epoch >= witness.kill_epoch:
        return Belief(read, Witness(identity, read.epoch), another=another)
    fact = f"the store reads kill epoch {read.epoch}, but {witness.kill_epoch} was seen before: it lost kills"
    here = {kill.id for kill in read.kills}
    kept = tuple(kill for kill in known.kills if kill.id not in here and kill.epoch > read.epoch)
    lost = everything(read.environment, epoch=witness.kill_epoch, reason=fact)
    return Belief(KillSnapshot(read.environment, witness.kill_epoch, (*read.kills, *kept, lost)), witness, fact)
