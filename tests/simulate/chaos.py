"""A bad day, drawn from a seed: storms of loss, partitions, crashes and kills, then good weather in which all must recover."""

from __future__ import annotations

from tests.simulate.network import SimulatedNetwork, Weather

STORM_MS = 1_500
"""Virtual length of one storm."""
HEAL_LIMIT_MS = 30_000
"""Virtual time in which every honest node must make new blocks after the last storm."""


def bad_day(seed: int, n: int, *, byzantine: int = 0, storms: int = 5) -> SimulatedNetwork:
    """Runs it and checks agreement, no double signature, no innocent blamed, progress after healing."""
    net = SimulatedNetwork(seed, n, byzantine=byzantine)
    net.boot()
    for _ in range(storms):
        storm(net)
        net.check_agreement()
    heal(net)
    net.run_to(max(endpoint.height for endpoint in net.honest) + 3, HEAL_LIMIT_MS)
    net.check_agreement()
    return net


def storm(net: SimulatedNetwork) -> None:
    rng = net.rng
    net.weather = Weather(
        loss=rng.choice((0.0, 0.05, 0.3, 0.6)),
        duplication=rng.choice((0.0, 0.2)),
        max_delay_ms=rng.choice((5, 50, 400)),
        groups=_partition(net) if rng.random() < 0.4 else [],
    )
    for endpoint in net.honest:
        dice = rng.random()
        if dice < 0.2:
            endpoint.crash_and_restart(rng.randint(10, STORM_MS))
        elif dice < 0.5:
            endpoint.arm(rng.randint(1, 12), after=rng.random() < 0.5)
    net.time.run_until(lambda: False, STORM_MS)


def heal(net: SimulatedNetwork) -> None:
    net.weather = Weather()
    for endpoint in net.endpoints:
        endpoint.disk.fuse.kill_at = None
        endpoint.boot_if_down()


def _partition(net: SimulatedNetwork) -> list[set[int]]:
    """Two sides; liars reach both."""
    groups: list[set[int]] = [set(net.liars), set(net.liars)]
    for endpoint in net.honest:
        net.rng.choice(groups).add(endpoint.index)
    return groups
