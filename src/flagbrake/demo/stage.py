"""What every act of the story shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flagbrake.demo.crew import Crew, Member
from flagbrake.demo.show import Show

if TYPE_CHECKING:
    from flagbrake.wiring import ControlPlane

#: Who acts in the demonstration, in the audit and in every reason.
OPERATOR: Final = "demo"


@dataclass(slots=True)
class Account:
    """What was measured, and which promises held."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    promises: list[tuple[str, bool]] = field(default_factory=list)

    def fact(self, name: str, figure: str) -> None:
        """Note one figure."""
        self.facts.append((name, figure))

    def promise(self, text: str, *, held: bool) -> None:
        """Note one promise."""
        self.promises.append((text, held))

    @property
    def kept(self) -> bool:
        """True if there were promises and every one held."""
        return bool(self.promises) and all(held for _, held in self.promises)


@dataclass(slots=True)
class Stage:
    """The audience's view, the processes, the control plane, and the account."""

    show: Show
    crew: Crew
    plane: ControlPlane
    config: Path
    account: Account = field(default_factory=Account)
    workers: list[Member] = field(default_factory=list)
