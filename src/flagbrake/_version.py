"""The one place a version is written; every distribution of the workspace reads it."""

__version__ = "0.1.0"
