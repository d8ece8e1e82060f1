"""Split (Harness FME) on this machine: what SDKs call, the stream, and the management API. Needs ``[emulator]``."""

from flagbrake_split.emulator.server import SplitEmulator

__all__ = ["SplitEmulator"]
