"""What the fixture ``override_flag`` does: change flags in a MemoryProvider and put them back."""

from __future__ import annotations

from typing import Any

from openfeature import api
from openfeature.provider._registry import provider_registry  # OpenFeature has no public way to ask for a provider
from openfeature.provider.no_op_provider import NoOpProvider

from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Flag
from flagbrake.testing.provider import MemoryProvider

_UNSET: Any = object()


class Override:
    """Callable; remembers what every flag was before its first change."""

    def __init__(self) -> None:
        self._before: list[tuple[MemoryProvider, str, Flag | None]] = []
        self._set: list[tuple[str | None, Any]] = []

    def __call__(self, flag: str | Flag, value: Any = _UNSET, *, domain: str | None = None) -> Flag:
        """Make the flag serve ``value`` to everybody, or put a whole ``Flag`` in.

        Raises:
            InvalidInput: no value was given, or the provider that is set is not a MemoryProvider.
        """
        key = flag if isinstance(flag, str) else flag.key
        provider = self._provider(domain)
        if not any(p is provider and k == key for p, k, _ in self._before):
            self._before.append((provider, key, provider.flags.get(key)))
        if isinstance(flag, Flag):
            provider.put(flag)
            return flag
        if value is _UNSET:
            raise InvalidInput(f"override_flag('{key}') has no value.", cure=f"override_flag('{key}', True)")
        return provider.set(key, value)

    def _provider(self, domain: str | None) -> MemoryProvider:
        found: Any = provider_registry.get_provider(domain)
        if isinstance(found, NoOpProvider):
            fresh = MemoryProvider()
            self._set.append((domain, found))
            api.set_provider_and_wait(fresh, domain)
            return fresh
        while not isinstance(found, MemoryProvider):
            inner = getattr(found, "inner", None)  # the guard and other wrappers
            if inner is None:
                name = found.get_metadata().name
                fact = f"Flags of provider '{name}' cannot be overridden."
                raise InvalidInput(fact, cure="api.set_provider(flagbrake.testing.MemoryProvider()) in the test")
            found = inner
        return found

    def restore(self) -> None:
        """Put everything back as it was."""
        for provider, key, flag in reversed(self._before):
            if flag is None:
                provider.remove(key)
            else:
                provider.put(flag)
        for domain, provider in reversed(self._set):
            api.set_provider(provider, domain)
        self._before.clear()
        self._set.clear()
