"""Small disks for some nodes: file systems in memory, where this machine lets us.

They are mounted in a mount namespace of this process and its children. So they end with the last of these, also when all are killed,
and nobody else sees them. Nodes end when whoever started them does; those that were stopped meanwhile are let go on by a child that
waits for its parent's end.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hce.app.devnet.home import Home

SMALL_DISK = "192m"
SMALL_NODES = (5, 6, 7, 8)
"""Nodes whose data lies on a small disk."""
CLONE_NEWNS = 0x20000
"""`unshare(2)`: mounts of one's own."""
_LET_GO_ON = "import os, signal, sys\nsys.stdin.read()\nfor pid in map(int, sys.argv[1:]):\n" + (
    "    try:\n        os.kill(pid, signal.SIGCONT)\n    except ProcessLookupError:\n        pass\n"
)


class Mounts:
    """Of one run in a folder. Make it before any thread: a namespace is the thread's that asks for it, and of those it starts."""

    def __init__(self, folder: Path, wanted: bool) -> None:
        self.mounted: list[Path] = []
        self.left_out: list[str] = []
        unmount_left(folder)
        if wanted and not _own_namespace():
            self.left_out = ["full disks: this user may not mount"]
        self._wanted = wanted and not self.left_out

    def mount(self, home: Home) -> None:
        if not self._wanted:
            return
        for node in SMALL_NODES:
            data = home.node(node) / "data"
            kept = {path.relative_to(data): path.read_bytes() for path in data.rglob("*") if path.is_file()}
            command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=700", "tmpfs", str(data)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                self.left_out = ["full disks: this user may not mount"]
                return
            self.mounted.append(data)
            for path, content in kept.items():
                (data / path).parent.mkdir(parents=True, exist_ok=True)
                (data / path).write_bytes(content)

    def unmount(self) -> None:
        for path in self.mounted:
            subprocess.run(["umount", "-l", str(path)], check=False)


def mounts_under(folder: Path) -> list[Path]:
    """Where this process sees something mounted in a folder, the innermost first."""
    lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    places = [Path(line.split()[1].encode().decode("unicode_escape")) for line in lines]
    return sorted((place for place in places if place.is_relative_to(folder.resolve())), reverse=True)


def unmount_left(folder: Path) -> None:
    """What an earlier run in this folder left mounted."""
    for place in mounts_under(folder):
        if place != folder.resolve():
            subprocess.run(["umount", "-l", str(place)], check=True)


def _own_namespace() -> bool:
    """Whether mounts of this thread and its children are seen by nobody else from now on."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False).returncode == 0


@contextmanager
def going_on_afterwards(pids: Sequence[int]) -> Iterator[None]:
    """Stopped processes go on at the end of the block, and also when this process is killed in it."""
    command = [sys.executable, "-c", _LET_GO_ON, *map(str, pids)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield
