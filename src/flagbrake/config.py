"""Settings: argument > environment variable > TOML > default. Unknown keys are errors."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from flagbrake.errors import ConfigError
from flagbrake.model.kill import UnknownPolicy

#: The file that agents and operators share, found in the working directory or above it.
FILE: Final = "flagbrake.toml"
#: Beside it, read by the control plane only: admin tokens live here and nowhere else.
ADMIN_FILE: Final = "flagbrake.admin.toml"
#: Where flags live when nothing is configured.
DEFAULT_STORE: Final = "sqlite:///flagbrake.db"
#: The cure of a file that is there and does not open.
_READABLE: Final = "a file that this user may read"

_TOP: Final = {
    "use": "the provider that answers: sql, launchdarkly, split, unleash or an in-house adapter",
    "project": "the project flags belong to",
    "environment": "the environment; every command names it",
    "allow_missing": "start although the provider lacks flags that were evaluated before a change of `use`",
    "state_dir": "where last known good and the list of evaluated flags are kept",
    "single_controller": "without a store: this is the only machine that writes; lock and audit are in `state_dir`",
    "store": "the shared database (table)",
    "kill": "the kill switch (table)",
    "engine": "the rollout engine (table)",
    "notify": "who is told (one table per notifier)",
    "flags": "declarations, one table per flag",
}
#: Keys of the file that are fields of :class:`Config` as they stand.
_PLAIN: Final = ("use", "project", "environment", "allow_missing", "state_dir", "single_controller")
_TABLES: Final = {
    "store": {"url": "database URL: sqlite:///FILE or postgresql://...", "timeout": "seconds to wait for it at start"},
    "kill": {
        "policy": "while the kill state is unknown: last-known, closed or open",
        "wait": "seconds a kill waits for acknowledgements",
        "trust": "seconds a kill state is believed without contact to the store or the vendor",
        "flags": "write kills to the store and also as vendor flags kill.SCOPE",
        "vendor_off": "also switch off the vendor's flags that a kill covers, for programs without flagbrake (true)",
    },
    "engine": {"interval": "seconds between ticks", "silent_after": "seconds after which a silent engine is an alarm"},
}
#: Keys of ``[flags.KEY]``; ``model.codec.declaration_from_data`` reads them.
DECLARATION: Final = {
    "kind": "boolean, string, integer, float or object",
    "safe_variant": "the variant served while killed; never guessed",
    "safe_value": "its value, for providers that cannot look it up",
    "scopes": 'kills that reach this flag, such as ["agent:refunds"]; flag:KEY always does',
    "scope_attributes": 'scopes read from the context, such as { tenant = "tenantId" }',
    "unknown_policy": "while the kill state is unknown: last-known, closed or open",
    "holdback": "attributes kept for a migration",
}
_VARIABLES: Final = {
    "use": "FLAGBRAKE_USE",
    "project": "FLAGBRAKE_PROJECT",
    "environment": "FLAGBRAKE_ENVIRONMENT",
    "allow_missing": "FLAGBRAKE_ALLOW_MISSING",
    "state_dir": "FLAGBRAKE_STATE_DIR",
    "store_url": "FLAGBRAKE_STORE_URL",
}


def _default_state_dir() -> Path:
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "flagbrake"


@dataclass(frozen=True, slots=True)
class Config:
    """Settings as they stand; secrets are still references, resolved by :meth:`secret` when used."""

    path: Path | None = None
    base: Path = field(default_factory=Path.cwd)
    use: str = "sql"
    project: str = "default"
    environment: str = "development"
    allow_missing: bool = False
    state_dir: Path = field(default_factory=_default_state_dir)
    single_controller: bool = False
    store_url: Any = field(default=None, repr=False)
    store_timeout: float = 5.0
    policy: UnknownPolicy = UnknownPolicy.LAST_KNOWN
    kill_wait: float = 5.0
    kill_trust: float = 15.0
    kill_flags: bool = False
    kill_vendor_off: bool = True
    engine_interval: float = 1.0
    engine_silent_after: float = 30.0
    notify: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def secret(self, where: str, value: Any) -> Any:
        """Resolve ``{ env = "NAME" }`` and ``{ file = "path" }``; other values come back as they are.

        Raises:
            ConfigError: the variable is not set, or the file cannot be read.
        """
        match value:
            case {"env": str(name), **rest} if not rest:
                found = os.environ.get(name)
                if not found:
                    raise ConfigError(
                        f"{where}: the environment variable {name} is not set.", cure=f"export {name}=..."
                    )
                return found
            case {"file": str(name), **rest} if not rest:
                file = self.base / name
                try:
                    return file.read_text(encoding="utf-8").strip()
                except OSError as error:
                    gone = isinstance(error, FileNotFoundError)
                    cure = "put the secret in that file, or name another" if gone else _READABLE
                    raise ConfigError(f"{where}: {file} cannot be read ({error.strerror}).", cure=cure) from error
                except UnicodeDecodeError as error:
                    raise ConfigError(f"{where}: {file} is not text.", cure="the secret alone, as text") from error
            case _:
                return value

    def resolved(self, table: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """A table with its secrets resolved."""
        return {key: self.secret(f"[{table}] {key}", value) for key, value in values.items()}

    def database(self) -> str | None:
        """The store's URL with a relative SQLite path made absolute; ``None`` when no store is configured."""
        value = self.secret("[store] url", self.store_url)
        if value is None:
            if self.use != "sql":
                return None
            value = DEFAULT_STORE
        if not isinstance(value, str) or not re.match(r"^(sqlite|postgresql|postgres|mysql|mariadb)(\+\w+)?:", value):
            raise ConfigError(
                "[store] url is not a database URL.", cure="sqlite:///flagbrake.db or postgresql://user@host/database"
            )
        if value.startswith("sqlite:///") and value != "sqlite:///:memory:":
            return f"sqlite:///{self.base / value.removeprefix('sqlite:///')}"
        return value


def load(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    adapters: Collection[str],
    admin: bool = False,
    **overrides: Any,
) -> Config:
    """Read the settings.

    Args:
        source: a TOML file, the same as a mapping, or ``None`` to look for ``flagbrake.toml`` in
            ``FLAGBRAKE_CONFIG``, the working directory and its parents.
        adapters: names of adapters, each of which may have a table of its own.
        admin: read ``flagbrake.admin.toml`` beside it too.
        overrides: fields of :class:`Config` given as arguments; ``None`` means not given.

    Raises:
        ConfigError: no such file, not TOML, an unknown key (the nearest is named), a value of the wrong type.
    """
    path, data = _read(source)
    base = path.parent if path else Path.cwd()
    known = {**_TOP, **dict.fromkeys(adapters, "an adapter's own settings (table)")}
    name = path.name if path else "the configuration"
    _refuse_unknown(data, known, name)
    for table, keys in _TABLES.items():
        _refuse_unknown(_table(data, table, name), keys, f"[{table}] of {name}")
    options = {key: _table(data, key, name) for key in adapters if key in data}
    if admin and path and (path.parent / ADMIN_FILE).exists():
        _, more = _read(path.parent / ADMIN_FILE)
        _refuse_unknown(more, dict.fromkeys([*adapters, "store", "notify"], ""), ADMIN_FILE)
        options = {key: {**options.get(key, {}), **_table(more, key, ADMIN_FILE)} for key in {*options, *more}}
        data = {**data, "store": {**data.get("store", {}), **more.get("store", {})}}
    values = _flatten(data, name)
    for field_name, variable in _VARIABLES.items():
        if os.environ.get(variable):
            values[field_name] = os.environ[variable]
    values.update({key: value for key, value in overrides.items() if value is not None})
    return Config(path=path, base=base, options=options, **_typed(values, base))


def _read(source: str | Path | Mapping[str, Any] | None) -> tuple[Path | None, dict[str, Any]]:
    if isinstance(source, Mapping):
        return None, dict(source)
    named = source or os.environ.get("FLAGBRAKE_CONFIG")
    path = Path(named).expanduser().absolute() if named else _search()
    if path is None:
        return None, {}
    try:
        with path.open("rb") as file:
            return path, tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"No configuration file {path}.", cure="flagbrake init, or another --config") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).", cure=_READABLE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.", cure="mend that line") from error


def _search() -> Path | None:
    here = Path.cwd()
    return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), None)


def _table(data: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"'{key}' in {where} is a table.", cure=f"[{key}]")
    return value


def _refuse_unknown(data: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            told = f"one of {', '.join(sorted(known))}" if known else "leave it out: there are no settings here"
            cure = near[0] if near else told
            raise ConfigError(f"Unknown key '{key}' in {where}.", cure=cure)


def refuse_unknown_options(name: str, given: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuse a key that an adapter's table does not know, naming the one that was meant."""
    _refuse_unknown(given, known, f"[{name}]")


def _flatten(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = {k: data[k] for k in _PLAIN if k in data}
    store, kill, engine = (_table(data, key, where) for key in ("store", "kill", "engine"))
    pairs = {
        "store_url": store.get("url"),
        "store_timeout": store.get("timeout"),
        "policy": kill.get("policy"),
        "kill_wait": kill.get("wait"),
        "kill_trust": kill.get("trust"),
        "kill_flags": kill.get("flags"),
        "kill_vendor_off": kill.get("vendor_off"),
        "engine_interval": engine.get("interval"),
        "engine_silent_after": engine.get("silent_after"),
    }
    values.update({key: value for key, value in pairs.items() if value is not None})
    url = values.get("store_url")
    if isinstance(url, str) and urlsplit(url).password:
        raise ConfigError(
            f"[store] url in {where} holds a password in plain text.", cure='url = { env = "DATABASE_URL" }'
        )
    values["notify"] = {key: _table(_table(data, "notify", where), key, where) for key in data.get("notify", {})}
    values["flags"] = {key: _table(_table(data, "flags", where), key, where) for key in data.get("flags", {})}
    for key, entry in values["flags"].items():
        _refuse_unknown(entry, DECLARATION, f"[flags.{key}] of {where}")
    return values


def _typed(values: dict[str, Any], base: Path) -> dict[str, Any]:
    allowed = {f.name for f in fields(Config)}
    for key, value in values.items():
        match key:
            case "use" | "project" | "environment":
                if not isinstance(value, str) or not value or "/" in value:
                    raise ConfigError(f"'{key}' is {value!r}.", cure=f'{key} = "name", without a slash')
            case "allow_missing" | "single_controller" | "kill_flags" | "kill_vendor_off":
                values[key] = _truth(key.replace("kill_", "kill.", 1), value)
            case "state_dir":
                values[key] = base / Path(str(value)).expanduser()
            case "policy":
                values[key] = _policy(value)
            case "store_timeout" | "kill_wait" | "kill_trust" | "engine_interval" | "engine_silent_after":
                if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                    raise ConfigError(f"'{key.replace('_', '.', 1)}' is {value!r}.", cure="a number of seconds above 0")
                values[key] = float(value)
        if key not in allowed:
            raise ConfigError(f"Unknown setting '{key}'.")
    return values


def _truth(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    match str(value).lower():
        case "1" | "true" | "yes":
            return True
        case "0" | "false" | "no":
            return False
        case _:
            raise ConfigError(f"'{key}' is {value!r}.", cure="true or false")


def _policy(value: Any) -> UnknownPolicy:
    try:
        return UnknownPolicy(value)
    except ValueError:
        raise ConfigError(f"[kill] policy is {value!r}.", cure="last-known, closed or open") from None
