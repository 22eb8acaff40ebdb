"""What the end-to-end tests share beside the system itself."""

from collections.abc import Iterator

import pytest

from cli.walks import Walk
from tests.fixtures.system import RunningSystem, walking


@pytest.fixture(scope="module")
def walk_of_module(system: RunningSystem) -> Iterator[Walk]:
    """A walk for all tests of a module."""
    yield from walking(system)
