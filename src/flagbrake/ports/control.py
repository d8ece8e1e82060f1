"""The control plane's port: reading and writing one vendor's flags. Synchronous."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from flagbrake.errors import InvalidInput, Unsupported
from flagbrake.model.flag import Flag, FlagRef, Segment
from flagbrake.model.history import VendorEntry
from flagbrake.model.state import Capability, Change, FlagState, Support

_log = logging.getLogger("flagbrake.control")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about the vendor's account: ``fine`` or to be mended, with the cure."""

    text: str
    fine: bool = True
    cure: str = ""


class FlagControl(ABC):
    """One vendor, one project, one environment.

    Core wraps every control in the lock, the compare and the read-back (``control.writer``), so an
    adapter writes plain calls and maps its vendor's errors to ours.
    """

    #: The adapter's name, first part of every FlagRef.
    name: ClassVar[str]
    #: Every Capability with how far the adapter goes.
    capabilities: ClassVar[Mapping[Capability, Support]]
    #: The smallest step of a split, as a share of 100,000 (1 = 0.001 %, 1000 = 1 %).
    split_resolution: ClassVar[int] = 1
    #: True if ``apply`` writes its audit entry in the write's own transaction; else core audits around it.
    audits_itself: ClassVar[bool] = False
    #: True if ``apply`` asks the vendor after every write (but Archive) what it has now, and returns that: core
    #: verifies it as it is. What any other control has written is read once more.
    reads_back: ClassVar[bool] = False
    #: The same as the provider's: what stands for the dot in reserved names.
    reserved_dot: ClassVar[str] = "."

    project: str
    environment: str

    def ref(self, key: str) -> FlagRef:
        """The full name of a flag here."""
        return FlagRef(self.name, self.project, self.environment, key)

    @abstractmethod
    def read(self, key: str) -> FlagState:
        """Read one flag.

        Raises:
            NotFound: no such flag in this environment (the nearest keys are named).
            Unavailable, RetryLater, NotAllowed: the vendor did not answer, not now, not you.
        """

    @abstractmethod
    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change and return the state read back.

        ``expected`` is the version the caller saw; where COMPARE_AND_SWAP is FULL a different one raises
        Conflict and nothing is written.

        Raises:
            Unsupported, Conflict, ApprovalRequired, NotAllowed, NotFound, InvalidInput, RetryLater,
            Unavailable: as named; after Unavailable the write may have happened: read.
        """

    def states(self) -> Iterator[FlagState]:
        """All flags that are not archived; what cannot be read is left out (:meth:`readable`)."""
        raise self.unsupported(Capability.LIST)

    def segments(self) -> Iterator[Segment]:
        """All segments; what cannot be read is left out (:meth:`readable`)."""
        raise self.unsupported(Capability.SEGMENTS)

    def readable(self, read: Callable[[S], T], found: Iterable[S]) -> Iterator[T]:
        """For lists: one definition that is InvalidInput hides no other, and is told by an alarm in the log.

        Asked for by name it raises.
        """
        for one in found:
            try:
                made = read(one)
            except InvalidInput as error:
                _log.error("Left out of the list of '%s': %s", self.name, error)
                continue
            yield made

    def history(self, key: str, limit: int = 20) -> Iterator[VendorEntry]:
        """What the vendor's own log says of a flag here, newest first: what was changed elsewhere stands there too.

        Raises:
            NotFound: no such flag.
            Unsupported: the vendor keeps none, or it cannot be asked for.
        """
        raise self.unsupported(Capability.AUDIT)

    def spelt(self, flag: Flag) -> Flag:
        """A definition as :meth:`read` will show it once it is written here: in the vendor's own dialect and bucketing.

        Core compares what it reads back after Create and Replace with this. A vendor that has an operator less
        says the same with other clauses; unless this says so too, every such write looks like a conflict.
        """
        return flag

    def remarks(self) -> Iterator[Remark]:
        """What an operator should know of this account before it matters; asked by ``flagbrake doctor --live``.

        Looks and writes nothing: may the token write here, does the environment demand approvals.
        """
        return iter(())

    def check_place(self) -> None:  # noqa: B027 - where the store is the vendor, every environment is one
        """Ask the vendor whether the project and environment are there; asked before a kill where nobody ever was.

        Raises:
            NotFound, ConfigError: the vendor has no such place; the cure names those that it has.
            Unavailable, RetryLater, NotAllowed: the vendor did not say.
        """

    def close(self) -> None:  # noqa: B027 - most controls hold nothing
        """Close what is open."""

    def unsupported(self, capability: Capability) -> Unsupported:
        """The error for a capability that is not FULL."""
        support = self.capabilities.get(capability, Support.NOT_YET)
        why = "cannot do this" if support is Support.VENDOR_CANNOT else "cannot do this yet"
        return Unsupported(f"'{self.name}' {why}: {capability.value}.")
