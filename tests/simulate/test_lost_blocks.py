"""A block log that lost blocks its application has executed gets them from the others, and signs nothing meanwhile."""

from __future__ import annotations

from copy import deepcopy

import pytest
from tests.simulate.network import SimulatedNetwork, Weather
from tests.simulate.world import CounterApp

from hce.foundation.types.blocks import LedgerBlock, LedgerHeader
from hce.network.consensus.application import BlockContext
from hce.network.runtime.errors import BlocksMissing, SignStateCorrupt


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


def test_a_machine_that_is_set_back_as_a_whole_signs_no_height_that_it_signed_before() -> None:
    network = SimulatedNetwork(seed=3, n=4)
    network.boot()
    network.run_to(5, 60_000)
    setback = network.honest[1]
    setback.crash()
    copy = deepcopy(setback.disk)
    setback.boot()
    network.run_to(25, 120_000)
    setback.crash()
    setback.disk, reached, signed = copy, setback.height, dict(setback.signed)
    setback.boot()
    with pytest.raises(SignStateCorrupt):
        network.run_to(reached + 5, 60_000)
    repeated = [place for place in setback.signed if setback.signed[place] != signed.get(place) and place[-2] >= reached]
    assert repeated == []


def test_a_node_that_executes_the_next_block_is_not_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SimulatedNetwork(seed=1, n=4)
    network.boot()
    told: list[bool] = []
    finalize = CounterApp.finalize

    def finalize_and_ask(app: CounterApp, context: BlockContext, block: LedgerBlock) -> LedgerHeader:
        told.extend(endpoint.driver.syncing for endpoint in network.honest if endpoint.disk.app is app._disk)
        return finalize(app, context, block)

    monkeypatch.setattr(CounterApp, "finalize", finalize_and_ask)
    network.run_to(4, 60_000)
    assert len(told) >= 16
    assert not any(told)


def test_a_lone_node_that_lost_blocks_names_what_is_missing() -> None:
    network = SimulatedNetwork(seed=1, n=1)
    network.boot()
    network.run_to(6, 60_000)
    with pytest.raises(BlocksMissing) as caught:
        cut(network, 0, 2)
    assert (caught.value.fields["expected"], caught.value.fields["actual"]) == (network.honest[0].disk.app.height, 4)
