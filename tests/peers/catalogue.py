"""Every peer by name, each module loaded when it is asked for: one vendor's SDK has no business in another's run."""

from __future__ import annotations

from importlib import import_module

from tests.peers.kit import Peer

#: Name -> module and constant, in the order of the page's columns.
HOMES = {
    "flagbrake-memory": ("ours", "MEMORY"),
    "flagbrake-sqlite": ("ours", "SQLITE"),
    "flagbrake-postgresql": ("ours", "POSTGRESQL"),
    "flagbrake-launchdarkly": ("ours", "LAUNCHDARKLY"),
    "flagbrake-split": ("ours", "SPLIT"),
    "flagbrake-unleash": ("ours", "UNLEASH"),
    "in-memory": ("local", "IN_MEMORY"),
    "flagd": ("flagd", "FLAGD"),
    "launchdarkly": ("launchdarkly", "LAUNCHDARKLY"),
    "launchdarkly-no-wait": ("launchdarkly", "LAUNCHDARKLY_NO_WAIT"),
    "split": ("split", "SPLIT"),
    "unleash": ("unleash", "UNLEASH"),
    "unleash-contrib": ("unleash", "UNLEASH_CONTRIB"),
    "ofrep": ("ofrep", "OFREP"),
    "env-var": ("local", "ENV_VAR"),
}


def peer(name: str) -> Peer:
    """One peer."""
    module, constant = HOMES[name]
    found: Peer = getattr(import_module(f"tests.peers.{module}"), constant)
    return found
