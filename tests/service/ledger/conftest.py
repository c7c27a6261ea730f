"""A fresh chain for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.service.ledger.chain import Chain

from hce.service.ledger.pool import PoolLimits


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    made = Chain(tmp_path / "ledger")
    yield made
    made.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """A chain whose pool has these bounds, with two organisations that can pay."""
    made: list[Chain] = []

    def open_chain(**limits: int) -> Chain:
        chain = Chain(tmp_path / "small", pool_limits=PoolLimits(**limits))
        made.append(chain)
        chain.found("clinic", "rival")
        return chain

    yield open_chain
    for chain in made:
        chain.close()
