"""The adapter's tables of flagbrake.toml, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import ConfigError
from flagbrake.ports.options import Check, address, read, seconds, secret, switch, text
from flagbrake_split.api_v2 import PUBLIC

#: Keys of the control plane, each with one line of help.
CONTROL_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "admin_key": 'an Admin API key that may edit feature flags: { env = "SPLIT_ADMIN_KEY" }; '
        "in flagbrake.admin.toml only",
        "admin_url": f"where the management API is ({PUBLIC})",
        "admin_timeout": "seconds for one request to the management API (4.5)",
        "harness": "the admin key is one of Harness, sent as x-api-key (false)",
        "workspace": "Split's id or name of the workspace (project)",
        "environment_name": "Split's id or name of the environment (environment)",
        "traffic_type": "the traffic type of flags that are created here (user)",
    }
)  # fmt: skip

_CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "admin_key": secret,
        "admin_url": address,
        "admin_timeout": seconds,
        "harness": switch,
        "workspace": text,
        "environment_name": text,
        "traffic_type": text,
    }
)
#: Keys that no agent may be given.
ADMIN_OPTIONS: Final = frozenset({"admin_key"})


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What the control plane needs. Nothing here shows the key."""

    admin_key: str = field(repr=False)
    workspace: str
    environment_name: str
    admin_url: str = PUBLIC
    admin_timeout: float = 4.5
    harness: bool = False
    traffic_type: str = "user"

    @classmethod
    def read(cls, table: Mapping[str, Any], *, project: str, environment: str) -> ApiOptions:
        """From the table, checked.

        Raises:
            ConfigError: a value of the wrong type, or no admin key.
        """
        names = {"workspace": project, "environment_name": environment}
        given = read("split", {**names, **table}, _CHECKS)
        if "admin_key" not in given:
            raise ConfigError("[split] admin_key is missing.", cure='admin_key = { env = "SPLIT_ADMIN_KEY" }')
        return cls(**given)
