"""What can go wrong on this machine, said before it hurts: ports, memory, disk, what `make install` should have made.

Pure decisions over handed-in readings; `read_machine` is the edge. `hce doctor` prints all of them, `hce up` stops at the first
that is fatal.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path

import psutil
from msgspec import Struct

from hce.app.devnet.home import Home
from hce.app.portal.bundle import is_built

MIN_FREE_DISK_BYTES = 1 << 30
"""A node stops writing well before the disk is full; below this a demo network is not started."""
PORT_STEP = 100
"""Distance to the ports that are suggested instead of taken ones."""
MIN_MEMORY_BYTES_PER_PROCESS = 150 << 20
"""Measured need of a node or gateway with room to grow."""


class Machine(Struct, frozen=True):
    """Readings of this machine."""

    free_disk_bytes: int
    available_memory_bytes: int
    busy_ports: list[int]
    schema_built: bool
    portal_built: bool


class Finding(Struct, frozen=True):
    """One check: `key` names the words, `fix` is a command that can be run as it stands ("" when all is well)."""

    key: str
    ok: bool
    fields: dict[str, str]
    fix: str = ""


def judge(machine: Machine, processes: int, port_fix: str) -> list[Finding]:
    """All checks in the order a person would fix them; `port_fix` is the command for taken ports."""
    need = processes * MIN_MEMORY_BYTES_PER_PROCESS
    return [
        Finding("doctor.schema", machine.schema_built, {}, "" if machine.schema_built else "make install"),
        Finding("doctor.portal", machine.portal_built, {}, "" if machine.portal_built else "make install"),
        Finding(
            "doctor.disk",
            machine.free_disk_bytes >= MIN_FREE_DISK_BYTES,
            {"free": _gib(machine.free_disk_bytes), "need": _gib(MIN_FREE_DISK_BYTES)},
            "" if machine.free_disk_bytes >= MIN_FREE_DISK_BYTES else "df -h .",
        ),
        Finding(
            "doctor.memory",
            machine.available_memory_bytes >= need,
            {"free": _gib(machine.available_memory_bytes), "need": _gib(need)},
            "" if machine.available_memory_bytes >= need else "free -h",
        ),
        Finding(
            "doctor.ports",
            not machine.busy_ports,
            {"ports": ", ".join(map(str, machine.busy_ports)) or "-"},
            port_fix if machine.busy_ports else "",
        ),
    ]


def read_machine(home: Path, ports: list[int]) -> Machine:
    """Looks at disk, memory, ports, the built schema and the built portal. Opens each port for an instant on the loopback address only."""
    existing = next(parent for parent in [home, *home.parents] if parent.exists())
    return Machine(
        free_disk_bytes=shutil.disk_usage(existing).free,
        available_memory_bytes=psutil.virtual_memory().available,
        busy_ports=[port for port in ports if not port_is_free(port)],
        schema_built=_schema_path().exists(),
        portal_built=is_built(),
    )


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Ports the system says are free now; they may be taken a moment later, then the process that wanted one says so."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _schema_path() -> Path:
    spec = importlib.util.find_spec("hce.service.fhir")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    return folder / "fhir.schema.json.gz"


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def port_fix(home: Home, port_base: int) -> str:
    """A new network can take other ports; an existing one keeps its own, so see who has them."""
    return f"./hce status{home.option}" if home.exists else f"./hce up{home.option} --port-base {port_base + PORT_STEP}"
