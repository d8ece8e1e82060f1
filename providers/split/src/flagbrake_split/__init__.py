"""Split (Harness FME) for flagbrake: the SDK as an OpenFeature provider, the management API as a control."""

from flagbrake_split.adapter import SplitAdapter

__all__ = ["SplitAdapter"]
