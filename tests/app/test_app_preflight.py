"""What stands in the way is said before it hurts, with a command that can be run as it stands."""

from __future__ import annotations

import socket
from pathlib import Path

from hce.app.preflight import (
    MIN_FREE_DISK_BYTES,
    MIN_MEMORY_BYTES_PER_PROCESS,
    Machine,
    free_ports,
    judge,
    port_is_free,
    read_machine,
)

FIT = Machine(MIN_FREE_DISK_BYTES, 3 * MIN_MEMORY_BYTES_PER_PROCESS, [], True, True)


def wrong(machine: Machine) -> list[tuple[str, str]]:
    return [
        (finding.key, finding.fix)
        for finding in judge(machine, processes=3, port_fix="./hce up --port-base 7200")
        if not finding.ok
    ]


def test_a_fit_machine_has_nothing_to_mend() -> None:
    assert wrong(FIT) == []


def test_each_shortage_is_named_with_its_own_fix() -> None:
    poor = Machine(MIN_FREE_DISK_BYTES - 1, 3 * MIN_MEMORY_BYTES_PER_PROCESS - 1, [7_100], False, False)
    assert wrong(poor) == [
        ("doctor.schema", "make install"),
        ("doctor.portal", "make install"),
        ("doctor.disk", "df -h ."),
        ("doctor.memory", "free -h"),
        ("doctor.ports", "./hce up --port-base 7200"),
    ]


def test_a_listening_port_is_seen_as_taken(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        taken = listening.getsockname()[1]
        assert not port_is_free(taken)
        assert read_machine(tmp_path / "not" / "there", [taken]).busy_ports == [taken]


def test_free_ports_are_different_ones() -> None:
    assert len(set(free_ports(5))) == 5
