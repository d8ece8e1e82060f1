"""The account: one project with environments, flags, segments, and what happened to them.

Everything is guarded by one lock. A change is committed as a whole: versions first, then what SDKs are told, then the
audit entry and the file, so that nobody is told of a version that is not there yet.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from flagbrake.emulate.document import Document
from flagbrake.errors import ConfigError
from flagbrake_launchdarkly.emulator import compiler
from flagbrake_launchdarkly.emulator.audit import entry_of
from flagbrake_launchdarkly.emulator.editing import Json, new_id
from flagbrake_launchdarkly.emulator.flags import new_config, now
from flagbrake_launchdarkly.emulator.refusals import missing

#: What a token may do.
WRITER: Final = "api-emulator-writer"
READER: Final = "api-emulator-reader"
MEMBER: Final = "569f183514f4432160000007"

_FORMAT: Final = 1
#: Entries of the audit log that are kept.
_KEPT: Final = 5000
#: Tells SDKs of an environment: (environment, "flags" or "segments", key, the content or None when gone, version).
Publish = Callable[[str, str, str, Json | None, int], None]


class Account:
    """The state behind both planes. Threads may share it.

    Args:
        project: the key of the one project.
        environments: keys of its environments.
        file: where it is kept; what the file holds already wins, missing environments are added.
        publish: how SDKs are told.

    Raises:
        ConfigError: the file holds something else.
    """

    def __init__(self, *, project: str, environments: Iterable[str], file: Path | None, publish: Publish) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        #: Counts commits; wait on it with :meth:`wait_for`.
        self.revision = 0
        self._publish = publish
        self._document = Document(file) if file is not None else None
        loaded = self._document.load() if self._document is not None else None
        if loaded is not None and (loaded.get("emulator") != "launchdarkly" or loaded.get("format") != _FORMAT):
            raise ConfigError(f"{file} does not hold a LaunchDarkly emulator's state.", cure="another --file")
        self.data: Json = loaded or {
            "emulator": "launchdarkly",
            "format": _FORMAT,
            "project": project,
            "environments": {},
            "flags": {},
            "segments": {},
            "tombstones": {},
            "audit": [],
            "approvals": [],
            "scheduled": [],
            "releases": [],
        }
        for environment in environments:
            if environment not in self.environments:
                self.add_environment(environment)

    @property
    def project(self) -> str:
        """The project's key."""
        return str(self.data["project"])

    @property
    def environments(self) -> dict[str, Json]:
        """The environments by key."""
        found: dict[str, Json] = self.data["environments"]
        return found

    @property
    def flags(self) -> dict[str, Json]:
        """The flags by key; never changed in place, only by :meth:`commit_flag`."""
        found: dict[str, Json] = self.data["flags"]
        return found

    @property
    def names(self) -> dict[str, str]:
        """Names of the environments by key."""
        return {key: environment["name"] for key, environment in self.environments.items()}

    def segments(self, environment: str) -> dict[str, Json]:
        """The segments of an environment by key."""
        found: dict[str, Json] = self.data["segments"].setdefault(environment, {})
        return found

    def flag(self, key: str) -> Json:
        """A flag.

        Raises:
            Refusal: there is none.
        """
        found = self.flags.get(key)
        if found is None:
            raise missing("Unknown feature flag key")
        return found

    def environment(self, key: str) -> Json:
        """An environment.

        Raises:
            Refusal: there is none.
        """
        found = self.environments.get(key)
        if found is None:
            raise missing("Unknown environment key")
        return found

    def environment_of(self, sdk_key: str | None) -> str | None:
        """The environment an SDK key belongs to."""
        return next((key for key, one in self.environments.items() if one["apiKey"] == sdk_key), None)

    def add_environment(self, key: str, name: str | None = None) -> Json:
        """A new environment, with every flag of the project off in it."""
        with self.lock:
            made = {
                "_id": new_id().replace("-", "")[:24],
                "key": key,
                "name": name or key.replace("-", " ").title(),
                "apiKey": f"sdk-emulator-{key}",
                "mobileKey": f"mob-emulator-{key}",
                "color": "417505",
                "tags": [],
                "requiresApproval": False,
            }
            self.environments[key] = made
            for flag in self.flags.values():
                flag["environments"][key] = new_config(flag)
            self.saved()
            return made

    def everything(self, environment: str) -> Json:
        """What an SDK of this environment downloads."""
        with self.lock:
            flags = {
                key: compiler.sdk_flag(flag, environment) for key, flag in self.flags.items() if not flag["archived"]
            }
            segments = {key: compiler.sdk_segment(one) for key, one in self.segments(environment).items()}
            return copy.deepcopy({"flags": flags, "segments": segments})

    def commit_flag(self, key: str, after: Json | None, *, by: str, comment: str = "", verb: str = "updated") -> None:
        """Put a flag in the place of the one with this key; ``None`` deletes it. No change, nothing happens."""
        with self.lock:
            before = self.flags.get(key)
            if before == after:
                return
            told = _versioned(before, after, self._tombstones("flags", key))
            if after is None:
                del self.flags[key]
                self._bury("flags", key, {environment: version for environment, (_, version) in told.items()})
            else:
                self.flags[key] = after
            for environment, (content, version) in told.items():
                self._publish(environment, "flags", key, content, version)
            places = [f"proj/{self.project}:env/{one}:flag/{key}" for one in told or self.environments]
            self.record("flag", places, before, after, by=by, comment=comment, verb=verb)
            self.saved()

    def commit_segment(
        self, environment: str, key: str, after: Json | None, *, by: str, comment: str = "", verb: str = "updated"
    ) -> None:
        """The same for a segment."""
        with self.lock:
            segments = self.segments(environment)
            before = segments.get(key)
            if before == after:
                return
            version = (before["version"] if before else self._tombstones("segments", key).get(environment, 0)) + 1
            if after is not None:
                version = max(version, after["version"])
            if after is None:
                del segments[key]
                self._bury("segments", key, {environment: version})
                self._publish(environment, "segments", key, None, version)
            else:
                after.update(version=version, lastModifiedDate=now())
                segments[key] = after
                self._publish(environment, "segments", key, compiler.sdk_segment(after), version)
            place = f"proj/{self.project}:env/{environment}:segment/{key}"
            self.record("segment", [place], before, after, by=by, comment=comment, verb=verb)
            self.saved()

    def record(
        self,
        kind: str,
        places: Collection[str],
        before: Json | None,
        after: Json | None,
        *,
        by: str,
        comment: str,
        verb: str,
    ) -> None:
        """Write an audit entry."""
        audit = self.data["audit"]
        audit.append(entry_of(kind, places, before, after, by=by, comment=comment, verb=verb))
        del audit[:-_KEPT]

    def saved(self) -> None:
        """A change is complete: count it, keep it, wake who waits."""
        with self.lock:
            self.revision += 1
            if self._document is not None:
                self._document.save(self.data)
            self.changed.notify_all()

    def wake(self) -> None:
        """Something else happened that somebody may wait for, such as an event of analytics."""
        with self.lock:
            self.changed.notify_all()

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 10.0) -> bool:
        """Block until the predicate holds, looked at after every commit; False after ``timeout`` seconds."""
        with self.lock:
            return bool(self.changed.wait_for(predicate, timeout))

    def _tombstones(self, kind: str, key: str) -> dict[str, int]:
        found: dict[str, int] = self.data["tombstones"].get(f"{kind}/{key}", {})
        return found

    def _bury(self, kind: str, key: str, versions: Mapping[str, int]) -> None:
        """A deleted thing's versions are kept: one made anew under its key must be newer to SDKs."""
        self.data["tombstones"][f"{kind}/{key}"] = {**self._tombstones(kind, key), **versions}


#: For each environment that is told: the content, or None when it is gone, and its version.
Told = dict[str, tuple[Json | None, int]]


def _versioned(before: Json | None, after: Json | None, buried: Mapping[str, int]) -> Told:
    """Raise the versions of what changed, in ``after``; what SDKs of each environment are to be told."""
    if after is None:
        assert before is not None
        return {name: (None, config["version"] + 1) for name, config in before["environments"].items()}
    if before is not None and _outer(before) != _outer(after):
        after["_version"] = before["_version"] + 1
    told: Told = {}
    for name, config in after["environments"].items():
        old = before["environments"].get(name) if before is not None else None
        if old is None:
            config["version"] = max(config["version"], buried.get(name, 0) + 1)
        elif config == old and _content(before, name) == _content(after, name):
            continue
        else:
            config["version"] = max(config["version"], old["version"] + 1)
            config["lastModified"] = now()
        told[name] = (_content(after, name, whole=True), config["version"])
    return told


def _outer(flag: Json) -> Json:
    return {name: value for name, value in flag.items() if name not in {"environments", "_version"}}


def _content(flag: Json | None, environment: str, *, whole: bool = False) -> Json | None:
    """What SDKs see of it; nothing of an archived flag. Without its version unless ``whole``."""
    if flag is None or flag["archived"]:
        return None
    made = copy.deepcopy(compiler.sdk_flag(flag, environment))
    if not whole:
        del made["version"]
    return made
