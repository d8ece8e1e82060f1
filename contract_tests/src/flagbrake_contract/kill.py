"""What a kill means, the same around every provider."""

from __future__ import annotations

from typing import ClassVar

from flagbrake_contract import common as _common
from flagbrake_contract import guarding as _guarding
from flagbrake_contract import level0 as _level0
from flagbrake_contract.contract import Contract

_MODULES = (_guarding, _level0, _common)


class KillContract(Contract):
    """The kill convention over ``Guard(provider, board)``, with kills from a store and from the vendor's own flags."""

    areas: ClassVar[tuple[str, ...]] = ("kills", "level0", "common")
