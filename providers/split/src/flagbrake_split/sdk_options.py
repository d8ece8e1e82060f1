"""The agents' part of the adapter's table, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import ConfigError
from flagbrake.ports.options import Check, address, one_of, read, seconds, secret, text, texts

#: Keys of the data plane, each with one line of help.
AGENT_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sdk_key": 'the server-side SDK key of the environment: { env = "SPLIT_SDK_KEY" }',
        "mode": "how flags arrive: stream (default), poll, localhost or redis",
        "base_url": "one address for all five services of Split, such as an emulator's (Split's own)",
        "timeout": "seconds a start waits for data (5)",
        "refresh": "seconds between two polls: while polling, while the stream is down, of a file, of Redis (30)",
        "reconnect_delay": "seconds before the first new attempt after a failure; doubled each time (1)",
        "reconnect_max": "the longest pause between two attempts (15)",
        "refused_delay": "seconds before a refused SDK key is tried again; doubled each time (5)",
        "refused_delay_max": "the longest pause after a refusal (60)",
        "impressions": "optimized (default), debug or none: what is reported of evaluations",
        "flag_sets": "only the flags of these flag sets; the kill flags and flagbrake-manifest belong in one of them",
        "track_traffic_type": "the traffic type of tracked events (user)",
        "file": "mode localhost: the file with flags, .yaml or .json; it is read again every refresh seconds",
        "segment_directory": "mode localhost: the folder with NAME.json for each segment (the file's)",
        "redis_url": 'mode redis: where a Split synchroniser writes: { env = "SPLIT_REDIS_URL" }',
        "redis_prefix": "mode redis: the prefix of its keys",
    }
)


_FLAG_SET: Final = re.compile("[a-z0-9][a-z0-9_]{0,49}")


class Mode(StrEnum):
    """How flags arrive."""

    STREAM = "stream"
    POLL = "poll"
    LOCALHOST = "localhost"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class SdkOptions:
    """What the data plane needs. Nothing here shows the key or a password."""

    sdk_key: str = field(default="", repr=False)
    mode: Mode = Mode.STREAM
    base_url: str = ""
    timeout: float = 5.0
    refresh: float = 30.0
    reconnect_delay: float = 1.0
    reconnect_max: float = 15.0
    refused_delay: float = 5.0
    refused_delay_max: float = 60.0
    impressions: str = "optimized"
    flag_sets: tuple[str, ...] = ()
    track_traffic_type: str = "user"
    file: str = ""
    segment_directory: str = ""
    redis_url: str = field(default="", repr=False)
    redis_prefix: str = ""

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> SdkOptions:
        """From the table, checked.

        Raises:
            ConfigError: a value of the wrong type, or what the mode needs is missing.
        """
        options = cls(**read("split", table, _CHECKS))
        if options.mode in {Mode.STREAM, Mode.POLL} and not options.sdk_key:
            raise ConfigError("[split] sdk_key is missing.", cure='sdk_key = { env = "SPLIT_SDK_KEY" }')
        for name in options.flag_sets:
            if not _FLAG_SET.fullmatch(name.strip().lower()):
                # The SDK would leave it out, and without any set take all flags.
                fact = f"[split] flag_sets holds '{name}', which is no name of a flag set."
                raise ConfigError(fact, cure="letters, digits and underscores, at most 50")
        if options.mode is Mode.LOCALHOST and not options.file:
            raise ConfigError("[split] mode is localhost and no file is named.", cure='file = "flags.yaml"')
        if options.mode is Mode.REDIS and not options.redis_url:
            raise ConfigError("[split] mode is redis and redis_url is missing.", cure='redis_url = { env = "REDIS" }')
        return options


_CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "sdk_key": secret,
        "mode": one_of(*Mode),
        "base_url": address,
        "timeout": seconds,
        "refresh": seconds,
        "reconnect_delay": seconds,
        "reconnect_max": seconds,
        "refused_delay": seconds,
        "refused_delay_max": seconds,
        "impressions": one_of("optimized", "debug", "none"),
        "flag_sets": texts,
        "track_traffic_type": text,
        "file": text,
        "segment_directory": text,
        "redis_url": secret,
        "redis_prefix": text,
    }
)
