"""The dispersal ladder, and that what a quorum holds restores what was written."""

from __future__ import annotations

import pytest

from hce.foundation.types.ladder import MAX_NODES, ladder, shards_to_admit
from hce.foundation.types.quorum import quorum


def test_every_node_holds_one_shard_and_a_quorum_one_more_than_needed() -> None:
    rungs = {n: tuple(ladder(n)) for n in range(1, MAX_NODES + 1)}
    assert rungs == {1: (1, 0), 2: (1, 1), 3: (1, 2), 4: (2, 2), 5: (3, 2), 6: (4, 2), 7: (4, 3), 8: (5, 3), 9: (6, 3)}


@pytest.mark.parametrize("n", range(1, MAX_NODES + 1))
def test_shards_fit_on_the_nodes_and_a_quorum_can_hold_enough_to_admit(n: int) -> None:
    k, m = ladder(n)
    assert k + m == n
    assert k <= shards_to_admit(n) <= quorum(n)
    assert shards_to_admit(n) <= k + m


@pytest.mark.parametrize("n", [-1, 0, 10])
def test_other_networks_have_no_ladder(n: int) -> None:
    with pytest.raises(ValueError, match="1 to 9"):
        ladder(n)
