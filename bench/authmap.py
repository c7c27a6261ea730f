"""Cost of a block's batch in the authenticated map: microseconds a changed key, compute and write apart.

.venv/bin/python bench/authmap.py --keys 1000000 --batch 3000 --seed 1
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.mapnodes import MapStore

FILL_BATCH_KEYS = 50_000
KEY_BYTES, VALUE_BYTES = 33, 100


def main() -> None:
    arguments = parse_arguments()
    print(f"machine  {cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    print(f"command  python {' '.join(sys.argv)}")
    print(f"seed     {arguments.seed}")
    print(f"speed    {sha256_us():.2f} us for one SHA-256 of 65 bytes; compare runs by it")
    source = random.Random(arguments.seed)
    keys = [source.randbytes(KEY_BYTES) for _ in range(arguments.keys)]
    with tempfile.TemporaryDirectory() as folder:
        state = MapStore("bench")
        with KeyValueStore.open(Path(folder), tables=state.tables) as store:
            fill_seconds = timed(lambda: fill(store, state, keys, source))
            print(f"fill     {len(keys)} keys in {fill_seconds:.1f} s, {fill_seconds / len(keys) * 1e6:.1f} us a key")
            for _ in range(arguments.rounds):
                measure_batch(store, state, source.sample(keys, arguments.batch), source)


def measure_batch(store: KeyValueStore, state: MapStore, keys: list[bytes], source: random.Random) -> None:
    changes = {key: source.randbytes(VALUE_BYTES) for key in keys}
    with store.read() as snapshot:
        started = time.perf_counter()
        _, delta = state.compute_root(snapshot, changes)
        computed = time.perf_counter() - started

    def write() -> None:
        with store.write() as batch:
            state.apply(batch, delta)

    written = timed(write)
    with store.read() as snapshot:
        proving = timed(lambda: [state.prove(snapshot, key) for key in keys[:1000]]) / min(1000, len(keys))
    per_key = 1e6 / len(keys)
    print(
        f"batch    {len(keys)} keys: compute_root {computed * 1e3:.1f} ms ({computed * per_key:.1f} us a key), "
        f"apply and commit {written * 1e3:.1f} ms ({written * per_key:.1f} us a key), prove and verify {proving * 1e6:.0f} us"
    )


def fill(store: KeyValueStore, state: MapStore, keys: list[bytes], source: random.Random) -> None:
    for batch_keys in chunks(keys, FILL_BATCH_KEYS):
        with store.write() as batch:
            state.update(batch, {key: source.randbytes(VALUE_BYTES) for key in batch_keys})


def sha256_us() -> float:
    rounds = 200_000
    return timed(lambda: [hashlib.sha256(bytes(65)).digest() for _ in range(rounds)]) / rounds * 1e6


def chunks(keys: list[bytes], size: int) -> Iterator[list[bytes]]:
    walk = iter(keys)
    while chunk := list(islice(walk, size)):
        yield chunk


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys in the map")
    parser.add_argument("--batch", type=int, default=3_000, help="keys changed by one block")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
