"""A block log that lost blocks its application has executed gets them from the others, and signs nothing meanwhile."""

from __future__ import annotations

import pytest
from tests.simulate.network import SimulatedNetwork, Weather

from hce.network.runtime.errors import BlocksMissing


def cut(network: SimulatedNetwork, place: int, count: int) -> None:
    """One node stops, its log loses blocks, it starts again."""
    endpoint = network.honest[place]
    endpoint.crash()
    endpoint.disk.log.lose(count)
    endpoint.boot()


@pytest.mark.parametrize("lost", [1, 2, 9, 15])
def test_lost_blocks_come_back_from_the_others(lost: int) -> None:
    network = SimulatedNetwork(seed=lost, n=4)
    network.boot()
    network.run_to(15, 60_000)
    damaged = network.honest[2]
    height, before = damaged.height, dict(damaged.signed)
    cut(network, 2, lost)
    assert damaged.driver is not None
    assert damaged.driver.syncing
    network.time.run_until(lambda: damaged.height >= height, 30_000)
    signed_meanwhile = [place for place in damaged.signed.keys() - before.keys() if place[-2] <= height]
    assert signed_meanwhile == [], "nothing of a height that it had executed"
    network.run_to(height + 12, 60_000)
    assert not damaged.driver.syncing
    network.check_agreement()
    recent = {place[-2] for place in damaged.signed if place[-2] > height}
    assert len(recent) > 3, "and it votes again"


@pytest.mark.parametrize("seed", range(12))
def test_logs_that_lose_blocks_again_and_again_under_bad_weather_never_sign_twice(seed: int) -> None:
    network = SimulatedNetwork(seed=seed, n=4)
    network.weather = Weather(loss=0.05, duplication=0.1, max_delay_ms=120)
    network.boot()
    network.run_to(4, 60_000)
    for _ in range(5):
        place = network.rng.randrange(4)
        for _ in range(network.rng.randint(1, 3)):
            cut(network, place, network.rng.randint(1, max(1, network.honest[place].height)))
            network.time.run_until(lambda: False, network.rng.randint(1, 400))
        network.run_to(max(endpoint.height for endpoint in network.honest) + 1, 240_000)
    network.check_agreement()


def test_a_lone_node_that_lost_blocks_names_what_is_missing() -> None:
    network = SimulatedNetwork(seed=1, n=1)
    network.boot()
    network.run_to(6, 60_000)
    with pytest.raises(BlocksMissing) as caught:
        cut(network, 0, 2)
    assert (caught.value.fields["expected"], caught.value.fields["actual"]) == (network.honest[0].disk.app.height, 4)
