"""One border under atheris (libFuzzer), guided by what code each input reaches:

    python -m tests.fuzz.run "health body" --seconds 60 [--into FOLDER]

The corpus is made anew from the border's own seeds, so nothing is stored. Half of the mutations change the value behind the bytes
(`shapes.spoiled`), the other half the bytes. What breaks the border ends the run with its exit code, the input as `crash-*` in FOLDER
and its hex on the last line: it belongs into `found.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["hce", "rlp"]):
    from tests.fuzz.borders import BY_NAME, attacked, opened, respoiled, takes

SEEDS = 60
MOST_BYTES = 16_384
INPUT_S = 10
"""Wall-clock bound of one input, generous for a busy machine."""
MEMORY_MIB = 1_024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("border", choices=sorted(BY_NAME))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--into", type=Path, default=Path.cwd())
    asked = parser.parse_args()
    border = BY_NAME[asked.border]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        corpus = folder / "corpus"
        corpus.mkdir()
        for number in range(SEEDS):
            rng = Random(number)
            (corpus / f"{number}").write_bytes(border.seed(rng) if number % 2 else attacked(border, rng))
        read = stack.enter_context(opened(border, folder))

        def meet(raw: bytes) -> None:
            takes(border, read, raw)

        def mutate(raw: bytes, max_size: int, seed: int) -> bytes:
            rng = Random(seed)
            return respoiled(raw, rng)[:max_size] if rng.random() < 0.5 else bytes(atheris.Mutate(raw, max_size))

        began = time.monotonic()
        options = [f"-max_total_time={asked.seconds}", f"-max_len={MOST_BYTES}", f"-timeout={INPUT_S}"]
        options += [f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={asked.into}{os.sep}", "-print_final_stats=1", str(corpus)]
        atheris.Setup([sys.argv[0], *options], meet, custom_mutator=mutate)
        print(f"{border.name}: ready after {time.monotonic() - began:.1f} s", file=sys.stderr)
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
