"""The adapter's tables of flagbrake.toml, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import ConfigError
from flagbrake.ports.options import Check, Unfit, address, one_of, read, seconds, secret, switch, text, texts
from flagbrake_launchdarkly.names import RESERVED

#: Keys of ``[launchdarkly]`` for agents, each with one line of help.
AGENT_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sdk_key": "the environment's SDK key: { env = \"LAUNCHDARKLY_SDK_KEY\" }",
        "mode": "how flags arrive: stream, poll, file or offline (stream)",
        "files": "for mode file: the LaunchDarkly data files, a list of paths",
        "base_uri": "where polls go (https://app.launchdarkly.com)",
        "stream_uri": "where the stream is (https://stream.launchdarkly.com)",
        "events_uri": "where analytics go (https://events.launchdarkly.com)",
        "timeout": "seconds a start waits for the first data (5)",
        "events": "send analytics: evaluations and client.track (true)",
        "diagnostics": "send the SDK's own diagnostics (false)",
        "poll_interval": "for mode poll: seconds between polls, at least 30 (30)",
        "reconnect_delay": "seconds before the first reconnection of a cut stream (1)",
        "reconnect_max": "seconds after which a stream still cut is opened anew, whatever the SDK waits for (15)",
        "refused_delay": "seconds before the first new attempt after a refused key (5)",
        "refused_delay_max": "the longest pause between such attempts, in seconds (60)",
        "context_kind": "the context kind that the targeting key belongs to, at agents and in what is written (user)",
        "private_attributes": "attributes that never leave this process, a list",
        "all_attributes_private": "no attribute leaves this process (false)",
        "payload_filter": "the key of a payload filter",
        "ca_certs": "a file of certificate authorities for the SDK, in place of the usual ones",
        "http_proxy": "a proxy for the SDK, in place of the one that the environment names",
        "application": "an application id for LaunchDarkly's own pages",
    }
)  # fmt: skip

#: Keys of the control plane.
CONTROL_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "api_token": 'an API access token with the writer role: { env = "LAUNCHDARKLY_API_TOKEN" }; '
        "in flagbrake.admin.toml only",
        "api_url": "where the management API is (https://app.launchdarkly.com)",
        "project_key": "LaunchDarkly's key of the project (project)",
        "environment_key": "LaunchDarkly's key of the environment (environment)",
        "api_timeout": "seconds for one request to the management API (10)",
        "variant_names": "let names of variants travel to agents with the flag (true)",
    }
)  # fmt: skip

_KIND: Final = re.compile(r"[A-Za-z0-9._-]+\Z")


class Mode(StrEnum):
    """How flags arrive."""

    STREAM = "stream"
    POLL = "poll"
    FILE = "file"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class SdkOptions:
    """What the data plane needs. Nothing here shows the key."""

    sdk_key: str = field(default="", repr=False)
    mode: Mode = Mode.STREAM
    files: tuple[str, ...] = ()
    base_uri: str = "https://app.launchdarkly.com"
    stream_uri: str = "https://stream.launchdarkly.com"
    events_uri: str = "https://events.launchdarkly.com"
    timeout: float = 5.0
    events: bool = True
    diagnostics: bool = False
    poll_interval: float = 30.0
    reconnect_delay: float = 1.0
    reconnect_max: float = 15.0
    refused_delay: float = 5.0
    refused_delay_max: float = 60.0
    context_kind: str = "user"
    private_attributes: tuple[str, ...] = ()
    all_attributes_private: bool = False
    payload_filter: str | None = None
    ca_certs: str | None = None
    http_proxy: str | None = field(default=None, repr=False)
    application: str | None = None

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> SdkOptions:
        """From the table, checked.

        Raises:
            ConfigError: a value of the wrong type, or no SDK key where one is needed.
        """
        options = cls(**read("launchdarkly", table, _AGENT))
        if options.mode in {Mode.STREAM, Mode.POLL} and not options.sdk_key:
            raise ConfigError("[launchdarkly] sdk_key is missing.", cure='sdk_key = { env = "LAUNCHDARKLY_SDK_KEY" }')
        if options.mode is Mode.FILE and not options.files:
            raise ConfigError("[launchdarkly] mode is file and no files are named.", cure='files = ["flags.json"]')
        return options


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What the control plane needs. Nothing here shows the token."""

    api_token: str = field(default="", repr=False)
    api_url: str = "https://app.launchdarkly.com"
    project_key: str = ""
    environment_key: str = ""
    api_timeout: float = 10.0
    variant_names: bool = True
    context_kind: str = "user"

    @classmethod
    def read(cls, table: Mapping[str, Any], *, project: str, environment: str) -> ApiOptions:
        """From the table, checked.

        Raises:
            ConfigError: a value of the wrong type, or no token.
        """
        given = read("launchdarkly", table, _CONTROL)
        if "api_token" not in given:
            raise ConfigError(
                "[launchdarkly] api_token is missing: the control plane writes through the management API.",
                cure='api_token = { env = "LAUNCHDARKLY_API_TOKEN" } in flagbrake.admin.toml',
            )
        return cls(**{"project_key": project, "environment_key": environment, **given})


def _kind(value: Any) -> str:
    found = text(value)
    if found in {"kind", "multi", *RESERVED} or not _KIND.match(found):
        raise Unfit("is no context kind", '"user", or letters, digits, . _ -')
    return found


_AGENT: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "sdk_key": secret,
        "mode": one_of(*Mode),
        "files": texts,
        "base_uri": address,
        "stream_uri": address,
        "events_uri": address,
        "timeout": seconds,
        "events": switch,
        "diagnostics": switch,
        "poll_interval": seconds,
        "reconnect_delay": seconds,
        "reconnect_max": seconds,
        "refused_delay": seconds,
        "refused_delay_max": seconds,
        "context_kind": _kind,
        "private_attributes": texts,
        "all_attributes_private": switch,
        "payload_filter": text,
        "ca_certs": text,
        "http_proxy": text,
        "application": text,
    }
)
_CONTROL: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "api_token": secret,
        "api_url": address,
        "project_key": text,
        "environment_key": text,
        "api_timeout": seconds,
        "variant_names": switch,
        "context_kind": _kind,
    }
)
