"""The wheels of this tree, built once per session."""

from pathlib import Path

import pytest

from tests.support.stranger import DISTRIBUTIONS, ROOT, build, unpack


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All wheels, built from this tree without a network."""
    out = tmp_path_factory.mktemp("wheels")
    for folder in DISTRIBUTIONS.values():
        build(ROOT / folder, out)
    return {name: next(out.glob(f"{name}-*.whl")) for name in DISTRIBUTIONS}


@pytest.fixture(scope="session")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels unpacked side by side; other packages come from the test environment."""
    target = tmp_path_factory.mktemp("site")
    for wheel in wheels.values():
        unpack(wheel, target)
    return target
