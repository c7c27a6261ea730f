"""A CometBFT network on the loopback address, built from the Go module proxy and run with its built-in kvstore application.

Nothing of it enters the repository: source, modules and binary lie in a cache folder of the user.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from hce.app.bench.figures import Usage, usage_of
from hce.app.preflight import free_ports

MODULE = "github.com/cometbft/cometbft/cmd/cometbft"
VERSION = "v0.38.26"
START_S = 30.0
STOP_S = 10.0

Settings = Mapping[str, Mapping[str, str]]
"""Section -> key -> value as it stands in config.toml; section "" is the head of the file."""

LOOPBACK: Settings = {
    "": {"proxy_app": '"kvstore"', "log_level": '"error"'},
    "p2p": {"addr_book_strict": "false", "allow_duplicate_ip": "true", "pex": "false"},
}
"""What running several nodes on one machine takes; every other value is the default of `cometbft testnet`."""
DEFAULT: Settings = {}
TUNED: Settings = {
    "rpc": {"max_request_batch_size": "100"},
    "p2p": {
        "flush_throttle_timeout": '"10ms"',
        "max_packet_msg_payload_size": "65536",
        "send_rate": "512000000",
        "recv_rate": "512000000",
    },
    "mempool": {"size": "50000", "cache_size": "100000", "recheck": "false"},
    "consensus": {"peer_gossip_sleep_duration": '"10ms"'},
    "storage": {"discard_abci_responses": "true"},
    "tx_index": {"indexer": '"null"'},
}
"""A mempool for several blocks, no recheck, no index, links without a brake. `timeout_commit` stays 1 s: blocks come as ours do."""
PROFILES: Mapping[str, Settings] = {"default": DEFAULT, "tuned": TUNED}


class Comet(Struct, frozen=True):
    """A running network."""

    urls: list[str]
    processes: list[subprocess.Popen[bytes]]

    def usage(self) -> list[Usage]:
        return [usage_of(process.pid) for process in self.processes]


def built(cache: Path) -> Path | None:
    """The binary, built when it is not there yet; None without Go."""
    binary = cache / "bin" / f"cometbft-{VERSION}"
    if binary.exists():
        return binary
    if shutil.which("go") is None:
        return None
    environment = os.environ | {"GOPATH": str(cache / "gopath"), "GOBIN": str(cache / "bin"), "GOFLAGS": "-modcacherw"}
    subprocess.run(["go", "install", f"{MODULE}@{VERSION}"], check=True, env=environment)
    (cache / "bin" / "cometbft").rename(binary)
    return binary


@contextmanager
def running(binary: Path, folder: Path, nodes: int, settings: Settings) -> Iterator[Comet]:
    """`nodes` validators for the time of the block, all of them persistent peers of each other."""
    _call(binary, "testnet", "--v", str(nodes), "--o", str(folder), "--populate-persistent-peers=false")
    homes = [folder / f"node{index}" for index in range(nodes)]
    ports = free_ports(2 * nodes)
    names = [_call(binary, "show-node-id", "--home", str(home)).strip() for home in homes]
    addresses = [f"{name}@127.0.0.1:{ports[2 * index]}" for index, name in enumerate(names)]
    processes = []
    try:
        for index, home in enumerate(homes):
            p2p, rpc = ports[2 * index], ports[2 * index + 1]
            others = ",".join(address for place, address in enumerate(addresses) if place != index)
            here: Settings = {
                "rpc": {"laddr": f'"tcp://127.0.0.1:{rpc}"'},
                "p2p": {"laddr": f'"tcp://127.0.0.1:{p2p}"', "persistent_peers": f'"{others}"'},
            }
            for part in (LOOPBACK, settings, here):
                _configure(home / "config" / "config.toml", part)
            log = (folder / f"node{index}.log").open("wb")
            processes.append(subprocess.Popen([str(binary), "start", "--home", str(home)], stdout=log, stderr=log))
        comet = Comet([f"http://127.0.0.1:{ports[2 * index + 1]}" for index in range(nodes)], processes)
        _wait_until_blocks_come(comet)
        yield comet
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _configure(path: Path, settings: Settings) -> None:
    """Replaces values of keys that are there; a key that is not there is a mistake of ours."""
    head, *sections = re.split(r"(?m)^(?=\[[a-z0-9_]+\]$)", path.read_text())
    parts = {"": head} | {section[1 : section.index("]")]: section for section in sections}
    for name, values in settings.items():
        for key, value in values.items():
            found = re.findall(rf"(?m)^{re.escape(key)} = .*$", parts[name])
            if len(found) != 1:
                raise KeyError(f"[{name}] {key}")
            parts[name] = parts[name].replace(found[0], f"{key} = {value}")
    path.write_text("".join(parts.values()))


def _wait_until_blocks_come(comet: Comet) -> None:
    deadline = time.monotonic() + START_S
    for url in comet.urls:
        while _height(url) < 2:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} makes no blocks")
            time.sleep(0.1)


def _height(url: str) -> int:
    try:
        found: dict[str, Any] = httpx.get(url + "/status", trust_env=False).json()
    except httpx.HTTPError:
        return 0
    return int(found["result"]["sync_info"]["latest_block_height"])


def _call(binary: Path, *arguments: str) -> str:
    return subprocess.run([str(binary), *arguments], check=True, capture_output=True, text=True).stdout
