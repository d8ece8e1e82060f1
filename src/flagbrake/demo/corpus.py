"""The text: the standard library's own documentation, as `help()` prints it."""

from __future__ import annotations

import importlib
import inspect
import math
import pydoc
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any, Final

#: Modules that import fast, without side effects, on every platform.
MODULES: Final = """
    argparse ast base64 bisect builtins calendar cmath codecs collections configparser contextlib copy csv dataclasses
    datetime decimal difflib dis enum fnmatch fractions functools glob gzip hashlib heapq hmac html inspect io
    ipaddress itertools json linecache logging math mimetypes operator os pathlib pickle platform pprint queue random
    re sched secrets shelve shlex shutil signal statistics string struct subprocess tarfile tempfile textwrap
    threading time timeit tokenize traceback types unicodedata urllib.parse uuid warnings weakref zipfile zlib
"""

_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Library:
    """Every public routine of the modules: its full name, the object, and the page that `help()` prints."""

    objects: Mapping[str, Callable[..., Any]]
    pages: Mapping[str, str]
    _index: Mapping[str, Mapping[str, float]]

    def read(self, name: str) -> str:
        """The page of a full name.

        Raises:
            LookupError: there is no such page.
        """
        return self.pages[name]

    def search(self, words: str, *, within: str = "") -> list[str]:
        """Full names of the pages that share the rarest words with ``words``, best first, at most five."""
        scores: defaultdict[str, float] = defaultdict(float)
        for word in set(_WORD.findall(words.lower())):
            for name, weight in self._index.get(word, {}).items():
                if name.startswith(within):
                    scores[name] += weight
        return sorted(scores, key=lambda name: (-scores[name], name))[:5]


def gather(modules: str = MODULES) -> Library:
    """Read the pages of ``modules``; the same on every call of one Python version; about half a second."""
    objects = {
        name: routine for module in modules.split() for name, routine in _routines(importlib.import_module(module))
    }
    printed = pydoc.plaintext.document  # type: ignore[attr-defined]  # typeshed leaves it out
    pages = {name: printed(routine) for name, routine in objects.items()}
    return Library(MappingProxyType(objects), MappingProxyType(pages), _index(pages))


def _routines(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in sorted(set(names)):
        member = getattr(module, name, None)
        if inspect.isclass(member) and member.__module__ == module.__name__:
            for attribute in sorted(a for a in vars(member) if not a.startswith("_")):
                routine = getattr(member, attribute, None)
                if inspect.isroutine(routine) and inspect.getdoc(routine):
                    yield f"{module.__name__}.{name}.{attribute}", routine
        elif inspect.isroutine(member) and not name.startswith("_") and inspect.getdoc(member):
            yield f"{module.__name__}.{name}", member


def _index(pages: Mapping[str, str]) -> Mapping[str, Mapping[str, float]]:
    """Word -> page -> weight: rare words and short pages count more (the usual tf-idf with cosine length)."""
    counts = {name: Counter(_WORD.findall(page.lower())) for name, page in pages.items()}
    spread = Counter(word for words in counts.values() for word in words)
    index: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for name, words in counts.items():
        weights = {w: (1 + math.log(n)) * math.log(len(pages) / spread[w]) for w, n in words.items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        for word, weight in weights.items():
            index[word][name] = weight / length
    return dict(index)
