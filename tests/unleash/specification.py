"""The cases of Unleash's own client specification, as the npm package beside the server has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "server" / "node_modules" / "@unleash" / "client-specification" / "specifications"


class Case(NamedTuple):
    """One question and its answer.

    ``state`` is what the client has been sent: ``features`` and ``segments``, or ``events`` of a stream. ``expected``
    is a ``bool`` for ``isEnabled``, and for ``getVariant`` a dict with ``name``, ``enabled``, ``feature_enabled`` and,
    where the variant has one, ``payload``.
    """

    file: str
    state: dict[str, Any]
    description: str
    context: dict[str, Any]
    flag: str
    expected: bool | dict[str, Any]


def cases() -> Iterator[Case]:
    """Every case of every file that ``index.json`` lists, in its order; none where the package is not installed.

    Cases of one file share one ``state`` object.
    """
    index = FOLDER / "index.json"
    for file in json.loads(index.read_text("utf-8")) if index.exists() else ():
        document = json.loads((FOLDER / file).read_text("utf-8"))
        for asked in [*document.get("tests", ()), *document.get("variantTests", ())]:
            yield Case(
                file.removesuffix(".json"),
                document["state"],
                asked["description"],
                asked["context"],
                asked["toggleName"],
                asked["expectedResult"],
            )
