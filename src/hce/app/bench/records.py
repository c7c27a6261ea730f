"""Records a network makes durable and final: sealed for a patient, dispersed to the nodes, vouched for, committed.

Counted from planned resources on: reading Bundles and the structural gate are left out (`bench/fhir_import.py` measures them), sealing
is in, on the same cores.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from concurrent.futures import Executor
from pathlib import Path

from msgspec import Struct

from hce.app.bench.content import batches_of, planned_records
from hce.app.bench.figures import Usage, differences, machine, per_second, spread
from hce.app.bench.ledger import Figures
from hce.app.bench.people import Patient, bytes_of, open_patient, open_practice, seal_batch, seal_task
from hce.app.bench.signing import workers
from hce.app.bench.stage import Stage, Tell, stage_of
from hce.app.bench.watch import SeenBlock, follow
from hce.app.tour.stage import Practice
from hce.foundation.types.errors import HceError
from hce.service.fhir.grouping import PlannedRecord
from hce.service.gateway.importing import BATCH_RECORDS
from hce.service.sdk.author import Author
from hce.service.terms.genesis import Params

IN_FLIGHT = 6
"""Batches on their way at a time: what a block has steps for, so that one is sealed while another becomes final."""
PATIENTS = 4
"""Compartments written into, in turn."""


class Published(Struct, frozen=True):
    """One batch that is final."""

    done_s: float
    """Monotonic."""
    latency_ms: float
    """From being due (or begun, without a rate) to final, sealing included."""
    records: int
    resources: int
    bytes: int


async def measure_records(
    nodes: int, seconds: float, rate: float | None, seed: int, params: Params, root: Path, tell: Tell
) -> Figures:
    """The whole measurement; `rate` in records a second. Raises `HceError` when the run itself fails."""
    planned = await asyncio.to_thread(planned_records, root)
    async with stage_of(nodes, params, tell) as stage:
        practice = await open_practice(stage, seed)
        patients = await asyncio.gather(*(open_patient(stage, practice, seed, number) for number in range(PATIENTS)))
        before_s = ended_children_cpu_s()
        with workers() as pool:
            figures = await Publishing(stage, practice, patients, seed, pool).measure(planned, seconds, rate)
        return figures | {"sealing_cpu_s": round(ended_children_cpu_s() - before_s, 2)}


def ended_children_cpu_s() -> float:
    """Processor seconds of the processes this one has started and seen end: not the nodes, which still run."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


class Publishing:
    """One measurement on its way."""

    def __init__(self, stage: Stage, practice: Practice, patients: list[Patient], seed: int, pool: Executor) -> None:
        self._stage = stage
        self._practice = practice
        self._patients = patients
        self._seed = seed
        self._pool = pool
        self._author = Author(stage.network, practice.org_id, practice.key)
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._published: list[Published] = []
        self._refused: Counter[str] = Counter()
        self._blocks: list[SeenBlock] = []

    async def measure(self, planned: list[PlannedRecord], seconds: float, rate: float | None) -> Figures:
        """Publishes for so long; what was begun is waited for and counted, and so is the time it takes."""
        head = await self._stage.network.head()
        following = asyncio.create_task(follow(self._stage.network.nodes[0], head + 1, self._blocks.append))
        before, before_s, start = self._stage.usage(), time.process_time(), time.monotonic()
        try:
            await self._publish_all(planned, start, seconds, rate)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        return self._figures(start, before, self._stage.usage(), rate) | {"load_cpu_s": round(time.process_time() - before_s, 2)}

    async def _publish_all(self, planned: list[PlannedRecord], start: float, seconds: float, rate: float | None) -> None:
        size = BATCH_RECORDS if rate is None else max(1, min(BATCH_RECORDS, round(rate)))
        batches = batches_of(planned, size)
        async with asyncio.TaskGroup() as tasks:
            number = 0
            while (now := time.monotonic()) < start + seconds:
                due_s = now if rate is None else start + number * size / rate
                if due_s >= start + seconds:
                    break
                await asyncio.sleep(max(0.0, due_s - now))
                await self._room.acquire()
                since_s = time.monotonic() if rate is None else due_s
                tasks.create_task(self._publish(self._patients[number % PATIENTS], next(batches), since_s))
                number += 1

    async def _publish(self, patient: Patient, records: list[PlannedRecord], since_s: float) -> None:
        task = seal_task(self._stage, self._practice, patient, self._seed)
        try:
            batch = await asyncio.get_running_loop().run_in_executor(self._pool, seal_batch, task, records)
            await self._author.publish(batch, {patient.token.token.feed: patient.token})
        except HceError as error:
            self._refused[error.code] += 1
            return
        finally:
            self._room.release()
        done_s = time.monotonic()
        resources = sum(len(record.items) for record in records)
        self._published.append(Published(done_s, (done_s - since_s) * 1_000, len(records), resources, bytes_of(records)))
        self._stage.tell("bench.records", records=sum(one.records for one in self._published))

    def _figures(self, start: float, before: list[Usage], after: list[Usage], rate: float | None) -> Figures:
        done = self._published
        span_s = max((one.done_s for one in done), default=start) - start
        records, resources = sum(one.records for one in done), sum(one.resources for one in done)
        cpu_us = sum(last.cpu_us - first.cpu_us for first, last in zip(before, after, strict=True))
        return {
            "nodes": self._stage.nodes,
            "seconds": round(span_s, 1),
            "seed": self._seed,
            "machine": machine(),
            "offered_per_s": rate,
            "records_per_s": per_second(records, span_s),
            "resources_per_s": per_second(resources, span_s),
            "kib_per_s": per_second(sum(one.bytes for one in done) // 1024, span_s),
            "latency_ms": spread(one.latency_ms for one in done),
            "cpu_us_per_record_per_node": round(cpu_us / len(after) / records) if records else None,
            "rss_anon_mb": [usage.rss_anon_mb for usage in after],
            "blocks": len(self._blocks),
            "block_interval_ms": spread(differences([block.time_ms for block in self._blocks]), (50, 95), with_max=False),
            "refused": dict(self._refused),
        }
