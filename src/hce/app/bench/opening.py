"""How long a granted record takes from request to plaintext, and how many come under one access entry.

A doctor has the list of what is granted and picks: one opening is an access entry, its finality, the parts of the keyholders, their
combination, and decryption. Single openings begin at a random time after the one before, for whoever begins right after a block
always waits longest.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from msgspec import Struct

from hce.app.bench.content import batches_of, planned_records
from hce.app.bench.figures import machine, per_second, spread
from hce.app.bench.ledger import Figures
from hce.app.bench.people import Patient, open_patient, open_practice, seal_batch, seal_task
from hce.app.bench.stage import Stage, Tell, stage_of
from hce.app.tour.stage import DAY_MS, FIRST_DAY, LAST_DAY, Practice
from hce.foundation.types.errors import HceError, Unavailable
from hce.service.gateway.importing import BATCH_RECORDS
from hce.service.sdk.author import Author
from hce.service.sdk.reader import Reader
from hce.service.sdk.reading import Listing
from hce.service.terms.genesis import Params
from hce.service.terms.grants import MAX_RECORDS_PER_ENTRY, Purpose
from hce.service.vault.granting import make_access

PURPOSE: Purpose = "treatment"
REASON = "measured"
MANY_ROUNDS = 5
"""How often the many are opened: one of a second says more about the machine's mood than about the system."""


class Desk(Struct, frozen=True):
    """Where the doctor sits: the grant's reader, in whose name it reads, and the list to pick from."""

    reader: Reader
    credential_id: bytes
    listing: Listing


class Opened(Struct, frozen=True):
    """One access entry and what came of it."""

    entry_ms: float
    """Until the entry was proven final."""
    open_ms: float
    """From then to the last plaintext."""
    records: int
    refused: dict[str, int]


async def measure_opening(
    nodes: int, seconds: float, rate: float | None, seed: int, params: Params, records: int, root: Path, tell: Tell
) -> Figures:
    """The whole measurement; `rate` in single openings a second, `records` how many are opened under one entry."""
    planned = await asyncio.to_thread(planned_records, root)
    async with stage_of(nodes, params, tell) as stage:
        practice = await open_practice(stage, seed)
        patient = await open_patient(stage, practice, seed, 0)
        batches = batches_of(planned, BATCH_RECORDS)
        author = Author(stage.network, practice.org_id, practice.key)
        for start in range(0, records, BATCH_RECORDS):
            tell("bench.writing", records=start)
            part = next(batches)[: records - start]
            batch = await asyncio.to_thread(seal_batch, seal_task(stage, practice, patient, seed), part)
            await author.publish(batch, {patient.token.token.feed: patient.token})
        reader = await _granted(practice, patient)
        desk = Desk(reader, practice.credential_id, await reader.listing())
        singles = await _singles(stage, desk, seconds, rate, seed)
        tell("bench.many", records=len(desk.listing))
        before, before_s = stage.usage(), time.process_time()
        names = sorted(desk.listing)[:MAX_RECORDS_PER_ENTRY]
        rounds = [await _open(desk, names) for _ in range(MANY_ROUNDS)]
        cpu_us = sum(last.cpu_us - first.cpu_us for first, last in zip(before, stage.usage(), strict=True))
        used = {
            "cpu_us_per_opened_per_node": round(cpu_us / nodes / max(sum(one.records for one in rounds), 1)),
            "load_cpu_s": round(time.process_time() - before_s, 2),
        }
        return opening_figures(stage, seed, rate, singles, rounds) | used


async def _granted(practice: Practice, patient: Patient) -> Reader:
    made = await patient.owner.grant(practice.ask(), lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    return await practice.accept(made)


async def _singles(stage: Stage, desk: Desk, seconds: float, rate: float | None, seed: int) -> list[Opened]:
    """One after another for so long, at least one; with a rate they begin when they are due, together if need be."""
    choice = random.Random(seed)  # chooses what is measured, protects nothing
    names, start = sorted(desk.listing), time.monotonic()
    if rate is not None:
        return list(
            await asyncio.gather(
                *(_open_at(desk, choice.choice(names), start + n / rate) for n in range(max(1, int(seconds * rate))))
            )
        )
    done: list[Opened] = []
    interval_s = stage.network.genesis.params.block_interval_ms / 1_000
    while not done or time.monotonic() < start + seconds:
        done.append(await _open_at(desk, choice.choice(names), time.monotonic() + choice.random() * interval_s))
        stage.tell("bench.opened", count=len(done))
    return done


async def _open_at(desk: Desk, name: bytes, due_s: float) -> Opened:
    await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    return await _open(desk, [name], due_s)


async def _open(desk: Desk, names: list[bytes], since_s: float | None = None) -> Opened:
    since_s = time.monotonic() if since_s is None else since_s
    prepared = make_access(desk.reader.parcel.body, desk.credential_id, names, PURPOSE, REASON)
    try:
        await desk.reader.enter(prepared)
        entered_s = time.monotonic()
        result = await desk.reader.open(prepared, desk.listing)
    except HceError as error:
        return Opened(0.0, 0.0, 0, {error.code: len(names)})
    refused: dict[str, int] = {}
    for failure in result.refused.values():
        refused[failure.code] = refused.get(failure.code, 0) + 1
    return Opened((entered_s - since_s) * 1_000, (time.monotonic() - entered_s) * 1_000, len(result.opened), refused)


def opening_figures(stage: Stage, seed: int, rate: float | None, singles: list[Opened], rounds: list[Opened]) -> Figures:
    """`opened_per_s` counts the many under one entry, from its finality on; the median of the rounds, each under an entry of its own."""
    many = sorted(rounds, key=lambda one: one.records / max(one.open_ms, 1))[len(rounds) // 2]
    good = [one for one in singles if one.records]
    if not good or not many.records:
        raise Unavailable("nothing could be opened", refused=many.refused | singles[0].refused)
    refused: dict[str, int] = {}
    for one in (*singles, *rounds):
        for code, count in one.refused.items():
            refused[code] = refused.get(code, 0) + count
    return {
        "nodes": stage.nodes,
        "seed": seed,
        "machine": machine(),
        "offered_per_s": rate,
        "singles": len(good),
        "latency_ms": spread(one.entry_ms + one.open_ms for one in good),
        "entry_ms": spread(one.entry_ms for one in good),
        "open_ms": spread(one.open_ms for one in good),
        "opened_per_s": per_second(many.records, many.open_ms / 1_000),
        "many": {
            "records": many.records,
            "entry_ms": round(many.entry_ms),
            "open_ms": round(many.open_ms),
            "rounds_ms": [round(one.open_ms) for one in rounds],
        },
        "rss_anon_mb": [usage.rss_anon_mb for usage in stage.usage()],
        "refused": refused,
    }
