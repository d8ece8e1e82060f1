"""The adapter's tables of flagbrake.toml, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import ConfigError

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
        "context_kind": "the context kind that the targeting key belongs to (user)",
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
        given = {key: value for key, value in table.items() if key in AGENT_OPTIONS}
        checked = {key: _CHECKS[key](key, value) for key, value in given.items()}
        options = cls(**checked)
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

    @classmethod
    def read(cls, table: Mapping[str, Any], *, project: str, environment: str) -> ApiOptions:
        """From the table, checked.

        Raises:
            ConfigError: a value of the wrong type, or no token.
        """
        given = {key: value for key, value in table.items() if key in CONTROL_OPTIONS}
        checked = {key: _CHECKS[key](key, value) for key, value in given.items()}
        if not checked.get("api_token"):
            raise ConfigError(
                "[launchdarkly] api_token is missing: the control plane writes through the management API.",
                cure='api_token = { env = "LAUNCHDARKLY_API_TOKEN" } in flagbrake.admin.toml',
            )
        return cls(**{"project_key": project, "environment_key": environment, **checked})


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"[launchdarkly] {key} is not a text.", cure=f'{key} = "..."')
    return value.strip()


def _secret(key: str, value: Any) -> str:
    found = _text(key, value)
    if not found.isascii() or not found.isprintable() or " " in found:
        raise ConfigError(f"[launchdarkly] {key} holds characters that no key has.", cure="copy it again, whole")
    return found


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"[launchdarkly] {key} is not a list of texts.", cure=f'{key} = ["..."]')
    return tuple(value)


def _seconds(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ConfigError(f"[launchdarkly] {key} is not a number of seconds above 0.", cure=f"{key} = 5")
    return float(value)


def _switch(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"[launchdarkly] {key} is not true or false.", cure=f"{key} = true")
    return value


def _mode(key: str, value: Any) -> Mode:
    try:
        return Mode(value)
    except ValueError:
        raise ConfigError(f"[launchdarkly] {key} is {value!r}.", cure=", ".join(Mode)) from None


def _kind(key: str, value: Any) -> str:
    found = _text(key, value)
    if found in {"kind", "multi"} or not _KIND.match(found):
        raise ConfigError(f"[launchdarkly] {key} is no context kind.", cure='"user", or letters, digits, . _ -')
    return found


_SECONDS: Final = (
    "timeout",
    "poll_interval",
    "reconnect_delay",
    "reconnect_max",
    "refused_delay",
    "refused_delay_max",
    "api_timeout",
)
_SWITCHES: Final = ("events", "diagnostics", "all_attributes_private", "variant_names")
_CHECKS: Final[Mapping[str, Any]] = {
    **dict.fromkeys((*AGENT_OPTIONS, *CONTROL_OPTIONS), _text),
    **dict.fromkeys(("sdk_key", "api_token"), _secret),
    **dict.fromkeys(("files", "private_attributes"), _texts),
    **dict.fromkeys(_SECONDS, _seconds),
    **dict.fromkeys(_SWITCHES, _switch),
    "mode": _mode,
    "context_kind": _kind,
}
