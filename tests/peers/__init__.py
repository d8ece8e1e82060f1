"""The published providers of others, run against our contract: a report, never a test of this repository."""
