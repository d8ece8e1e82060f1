"""What a kill means, the same around every provider."""

from __future__ import annotations

from typing import ClassVar

from flagbrake_contract import common as _common
from flagbrake_contract import guarding as _guarding
from flagbrake_contract.contract import Contract

_MODULES = (_guarding, _common)


class KillContract(Contract):
    """The kill convention over ``Guard(provider, board)``."""

    areas: ClassVar[tuple[str, ...]] = ("kills", "common")
