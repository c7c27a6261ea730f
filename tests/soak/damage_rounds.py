"""Rounds of damage. A case is one thing damaged in one way on so many nodes; a round has many cases, on different records or files.

Every round ends with the whole scene compared: what clients read and what lies on the disks of the damaged nodes.
"""

from __future__ import annotations

import asyncio
import operator
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from msgspec import Struct
from tests.soak.damage_files import (
    SHARD_WAYS,
    damage_copy,
    damage_file,
    exchange,
    header_of,
    packs_of,
    put_back,
    undamage,
    whole_copies,
)
from tests.soak.damage_mounts import going_on_afterwards
from tests.soak.damage_scene import LIMIT_S, NODES, Held, NotWhole, Scene

from hce.app.room import RESERVE_BYTES
from hce.foundation.types.errors import HceError
from hce.foundation.types.quorum import quorum

Outcome = Literal["restored", "named", "lost", "wrong"]
BEARABLE = 3
"""Nodes of nine whose shards may be lost at one time: m of 6 + 3."""
BEYOND = "blob.unrecoverable"
NO_ANSWER = "no answer"
READ_S = 120.0
"""For one read. A client waits 30 s for a node that stands still, then asks whoever is left, so twelve reads one after another are a
round that seems to hang."""
SAMPLE = 12
"""Records opened by clinicians at the end of a round."""


class Case(Struct, frozen=True):
    part: str
    way: str
    nodes: int
    phase: str
    outcome: Outcome
    said: str = ""
    """The named error, or what is missing."""


class Rounds:
    """Draws from one seed."""

    def __init__(self, scene: Scene, seed: int, tell: Callable[[str], None]) -> None:
        self._scene = scene
        self._chance = random.Random(seed)
        self._tell = tell
        self._kept: dict[tuple[int, str], Path] = {}
        self.cases: list[Case] = []

    # Blobs where they lie, on running nodes

    async def blobs(self, count: int, phase: str, compare: bool = True) -> None:
        """Shards of so many records at once, on one to four nodes each. `compare`: everything afterwards, not only these."""
        scene, chance = self._scene, self._chance
        copies = [await asyncio.to_thread(whole_copies, scene.data(node)) for node in range(NODES)]
        present = [one for one in scene.held if all(one.name_of(node) in copies[node] for node in range(NODES))]
        chosen = chance.sample(present, min(count, len(present)))
        plans = [(one, chance.choice(SHARD_WAYS), chance.sample(range(NODES), chance.randint(1, 4))) for one in chosen]
        headers = {one.record_id: [header_of(copy) for copy in copies[at[0]][one.name_of(at[0])]] for one, _, at in plans}
        async with self._meanwhile(phase, chosen):
            for one, way, nodes in plans:
                other = chance.choice(present)
                for node in nodes:
                    for copy in copies[node][one.name_of(node)]:
                        damage_copy(copy, way, other.shard_of((node + 1) % NODES), chance)
            seen = await asyncio.gather(*(self._read(one) for one, _, _ in plans))
        for (one, way, nodes), said in zip(plans, seen, strict=True):
            if said and len(nodes) > BEARABLE and said == BEYOND:
                for back, header in zip(copies[nodes[0]][one.name_of(nodes[0])], headers[one.record_id], strict=True):
                    undamage(back, header, one.shard_of(nodes[0]))
                again = await self._read_again(one)
                self._enter("shard", way, len(nodes), phase, "named" if not again else "lost", said)
            elif said == "wrong bytes":
                self._enter("shard", way, len(nodes), phase, "wrong")
            else:
                self._enter("shard", way, len(nodes), phase, "lost" if said else "restored", said)
        if compare:
            await self._all_whole()

    async def _read_again(self, one: Held) -> str:
        """As a client that asks again: a node that met the damage meanwhile looks for what came back when it is next asked."""
        said = await self._read(one)
        for _ in range(10):
            if said != BEYOND:
                break
            await asyncio.sleep(1)
            said = await self._read(one)
        return said

    async def scrubbed(self, count: int) -> None:
        """Shards that nobody reads, on as many nodes as the code bears: each node finds and restores its own."""
        scene, chance = self._scene, self._chance
        copies = [await asyncio.to_thread(whole_copies, scene.data(node)) for node in range(NODES)]
        chosen = chance.sample(scene.held, min(count, len(scene.held)))
        plans = [(one, chance.choice(SHARD_WAYS), chance.sample(range(NODES), chance.randint(1, BEARABLE))) for one in chosen]
        for one, way, nodes in plans:
            for node in nodes:
                for copy in copies[node].get(one.name_of(node), []):
                    damage_copy(copy, way, chance.choice(scene.held).content, chance)
        left = {(one.record_id, node): one for one, _, nodes in plans for node in nodes}
        deadline = time.monotonic() + LIMIT_S
        while left and time.monotonic() < deadline:
            await asyncio.sleep(2)
            for node in {node for _, node in left}:
                there = await asyncio.to_thread(whole_copies, scene.data(node))
                left = {at: one for at, one in left.items() if at[1] != node or one.name_of(node) not in there}
        for one, way, nodes in plans:
            outcome: Outcome = "lost" if any((one.record_id, node) in left for node in nodes) else "restored"
            self._enter("shard, by scrubbing", way, len(nodes), "quiet", outcome)
        await self._all_whole()

    async def tables_in_use(self, count: int, phase: str) -> None:
        """Tables of running nodes, damaged under their feet: noticed when met, and made anew."""
        scene, chance = self._scene, self._chance
        nodes, part = chance.sample(range(NODES), count), chance.choice(IN_USE)
        way = chance.choice(("flip", "zero"))
        async with self._meanwhile(phase, scene.held):
            for node in nodes:
                damage_file(self._file(node, part), way, chance)
            await asyncio.sleep(1)
        outcome: Outcome = "restored" if await self._all_whole() else "lost"
        self._enter(f"{part}, in use", way, count, phase, outcome)

    async def manifests(self, phase: str, compare: bool = True) -> None:
        """Manifests of batches, on one to four nodes each."""
        scene, chance = self._scene, self._chance
        copies = [await asyncio.to_thread(whole_copies, scene.data(node)) for node in range(NODES)]
        plans = []
        for name in list(scene.manifests):
            way, nodes = chance.choice(SHARD_WAYS), chance.sample(range(NODES), chance.randint(1, 4))
            plans.append((name, way, nodes))
            for node in nodes:
                for copy in copies[node].get(name, []):
                    damage_copy(copy, way, chance.choice(scene.held).content, chance)
        for name, way, nodes in plans:
            given = [await self._manifest(node, name) for node in nodes]
            wrong = any(one is not None and one != scene.manifests[name] for one in given)
            self._enter("manifest", way, len(nodes), phase, "wrong" if wrong else "lost" if None in given else "restored")
        if compare:
            await self._all_whole()

    async def _manifest(self, node: int, name: bytes) -> bytes | None:
        """As a client that asks again when a node says that it cannot just now."""
        for _ in range(60):
            if (given := await self._scene.manifest(node, name)) is not None:
                return given
            await asyncio.sleep(0.5)
        return None

    # Whole pack files of running nodes

    async def packs(self, way: str, count: int, phase: str) -> None:
        """The pack files of some nodes at once, while they run. Beyond the bound every record is read, and one of the packs is put back
        after the error: an older pack lacks only the last few.

        Then nobody reads or writes meanwhile: what is put back holds neither what was written nor what was repaired since, and four
        nodes of nine would have lost it for good.
        """
        scene, chance = self._scene, self._chance
        phase = "quiet" if count > BEARABLE else phase
        nodes = chance.sample(range(NODES), count)
        kept = scene.home.root.parent / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(scene.data(nodes[0]) / "packs", kept)
        async with self._meanwhile(phase, scene.held):
            before = list(scene.held)
            for node, other in zip(nodes, nodes[1:] + nodes[:1], strict=True):
                self._damage_packs(node, other, way)
            said = await self._read_some(before, len(before) if count > BEARABLE else SAMPLE)
            if said == {BEYOND} and count > BEARABLE:
                for path in packs_of(kept):
                    shutil.copyfile(path, scene.data(nodes[0]) / "packs" / path.name)
        outcome: Outcome = "restored"
        if "wrong bytes" in said:
            outcome = "wrong"
        elif said:
            outcome = "named" if count > BEARABLE and said == {BEYOND} else "lost"
        outcome = outcome if await self._all_whole() else "lost"
        self._enter("pack", way, count, phase, outcome, " ".join(said))
        self._keep(nodes)

    def _damage_packs(self, node: int, other: int, way: str) -> None:
        for path in packs_of(self._scene.data(node)):
            if way == "stale":
                if not put_back(self._kept.get((node, f"packs/{path.name}"), Path("/nowhere")), path):
                    os.truncate(path, path.stat().st_size // 3)
            elif way.startswith("swap"):
                there = self._scene.data(other) / "packs" / path.name
                if node != other and there.exists():
                    exchange(path, there)
                else:
                    path.write_bytes(bytes(path.stat().st_size))
            else:
                damage_file(path, way, self._chance)

    # Files of stopped nodes

    async def stopped(self, plan: dict[str, str], count: int, phase: str) -> None:
        """Part -> way, all on the same nodes: killed, damaged, started; they have to come back by themselves."""
        scene, chance = self._scene, self._chance
        nodes = chance.sample(range(NODES), count)
        sizes = {node: scene.log_size(node) for node in nodes}
        async with self._meanwhile(phase, scene.held):
            await asyncio.gather(*(scene.kill(node) for node in nodes))
            for part, way in plan.items():
                for node, other in zip(nodes, nodes[1:] + nodes[:1], strict=True):
                    self._damage_part(node, other, part, way)
            failures = await asyncio.gather(*(scene.start(node) for node in nodes))
        said = []
        for node, failure in zip(nodes, failures, strict=True):
            if failure is not None:
                said.append(_named(scene.log_since(node, sizes[node])))
                await self._replace(node)
        whole = await self._all_whole()
        for part, way in plan.items():
            outcome: Outcome = "lost" if not whole else "named" if said else "restored"
            self._enter(part, way, count, phase, outcome, " ".join(sorted(set(said))))
        self._keep(nodes)

    async def _replace(self, node: int) -> None:
        """What the named error tells its operator to do in the end: an empty node takes the place of the damaged one."""
        _empty(self._scene.data(node))
        if (failure := await self._scene.start(node)) is not None:
            raise NotWhole(f"an empty node does not start: {failure.fields}")

    def _damage_part(self, node: int, other: int, part: str, way: str) -> None:
        path = self._file(node, part)
        if part == "everything":
            _empty(self._scene.data(node))
        elif way == "stale":
            if not put_back(self._kept.get((node, part), Path("/nowhere")), path):
                path.unlink(missing_ok=True)
        elif way == "swap nodes" and other != node:
            exchange(path, self._file(other, part))
        elif way.startswith("swap"):
            exchange(path, self._file(node, OTHER_FILE[part]))
        else:
            damage_file(path, way, self._chance)

    def _file(self, node: int, part: str) -> Path:
        return self._scene.data(node) / PARTS[part]

    def _keep(self, nodes: Sequence[int]) -> None:
        """Copies to be put back in a later round as files from before; taken while the node runs, as a careless copy is."""
        kept = self._scene.home.root.parent / "before"
        for node in nodes:
            files = {part: self._file(node, part) for part in PARTS if part != "everything"}
            files |= {f"packs/{path.name}": path for path in packs_of(self._scene.data(node))}
            for part, path in files.items():
                if path.exists() and self._chance.random() < 0.7:
                    target = kept / str(node) / part
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
                    self._kept[node, part] = target

    # Disks that are full or slow

    async def full(self, nodes: list[int], phase: str) -> None:
        """No room on some nodes while others write; then room again."""
        scene = self._scene
        sizes = {node: scene.log_size(node) for node in nodes}
        try:
            for node in nodes:
                _fill(scene.data(node), leave=0)
            await self._until_named(nodes)
            named = [await self._is_named(node, scene.log_since(node, sizes[node])) for node in nodes]
            writing = asyncio.create_task(scene.write(self._chance.randrange(len(scene.patients)), 2))
            if len(nodes) <= 2:
                await writing
        finally:
            for node in nodes:
                (scene.data(node) / "filler").unlink(missing_ok=True)
        await writing
        whole = await self._all_whole()
        outcome: Outcome = "restored" if whole and all(named) else "lost"
        self._enter("disk", "full", len(nodes), phase, outcome, "disk.full" if all(named) else "not named")

    async def _is_named(self, node: int, log: str) -> bool:
        status = await self._scene.status(node) or {}
        return "disk.full: this node has stopped voting" in log or status.get("free_bytes", RESERVE_BYTES) < RESERVE_BYTES

    async def _until_named(self, nodes: list[int]) -> None:
        """A node that has to write stops by name; one that has not, as when too few are left for blocks, says how little room it has."""
        for _ in range(400):
            statuses = [await self._scene.status(node) or {} for node in nodes]
            stopped = [status.get("code") == "disk.full" for status in statuses]
            little = [status.get("free_bytes", RESERVE_BYTES) < RESERVE_BYTES for status in statuses]
            if all(map(operator.or_, stopped, little)) and sum(stopped) >= min(len(nodes), NODES - quorum(NODES) + 1):
                return
            await asyncio.sleep(0.3)
        raise NotWhole(f"a full disk is not named: {statuses}")

    async def slow(self, nodes: list[int], delay: Callable[[int, float], None], seconds: float, phase: str) -> None:
        """Flushes that take long on some nodes: slower, never wrong."""
        scene = self._scene
        try:
            for node in nodes:
                delay(node, self._chance.choice((0.05, 0.2, 0.5)))
            async with self._meanwhile("writing", scene.held):
                await asyncio.sleep(seconds)
                said = await self._read_some(scene.held)
        finally:
            for node in nodes:
                delay(node, 0)
        whole = await self._all_whole()
        outcome: Outcome = "wrong" if "wrong bytes" in said else "lost" if said or not whole else "restored"
        self._enter("disk", "slow", len(nodes), phase, outcome, " ".join(said))

    async def hanging(self, nodes: list[int], seconds: float) -> None:
        """Nodes whose disk does not answer at all for a while stand still as stopped processes do."""
        scene = self._scene
        pids = [scene.supervisor.pid(f"node-{node}") for node in nodes]
        with going_on_afterwards(pids):
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            said = await self._read_some(scene.held)
            await asyncio.sleep(seconds)
        whole = await self._all_whole()
        beyond = len(nodes) > BEARABLE and said <= {BEYOND}
        outcome: Outcome = "wrong" if "wrong bytes" in said else "lost" if not whole or (said and not beyond) else "restored"
        self._enter(
            "disk", "hangs", len(nodes), "reading", outcome if not said or outcome != "restored" else "named", " ".join(said)
        )

    # Around every round

    @asynccontextmanager
    async def _meanwhile(self, phase: str, readable: Sequence[Held]) -> AsyncIterator[None]:
        """Somebody reads or writes while the damage is done."""
        if phase == "quiet":
            yield
            return
        ending = asyncio.Event()
        work = self._keep_reading(list(readable), ending) if phase == "reading" else self._keep_writing(ending)
        working = asyncio.create_task(work)
        try:
            yield
        except BaseException:
            working.cancel()  # what broke this off may be that nobody answers
            await asyncio.gather(working, return_exceptions=True)
            raise
        ending.set()
        await working

    async def _keep_reading(self, readable: list[Held], ending: asyncio.Event) -> None:
        chance = random.Random(self._chance.random())
        while not ending.is_set():
            if await self._read(chance.choice(readable)) == "wrong bytes":
                self._enter("any", "read", 0, "reading", "wrong")
            await asyncio.sleep(0)

    async def _keep_writing(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            await self._scene.write(self._chance.randrange(len(self._scene.patients)), 1)
            with suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), 0.5)

    async def _read_some(self, held: Sequence[Held], most: int = SAMPLE) -> set[str]:
        """Names of errors that some records are refused with; together, because a node that hangs is waited for."""
        sample = self._chance.sample(list(held), min(most, len(held)))
        return set(await asyncio.gather(*(self._read(one) for one in sample))) - {""}

    async def _read(self, one: Held) -> str:
        """Empty when the bytes are right, else the name of the error; NO_ANSWER is the harness's own."""
        try:
            async with asyncio.timeout(READ_S):
                return "" if await self._scene.content(one) == one.content else "wrong bytes"
        except HceError as error:
            return error.code
        except TimeoutError:
            return NO_ANSWER

    async def _all_whole(self) -> bool:
        """All nine nodes have everything, and clinicians open a sample; says what is missing when not."""
        scene, began_s = self._scene, time.monotonic()
        found = await asyncio.gather(*(scene.whole(node) for node in range(NODES)), return_exceptions=True)
        whole_s = time.monotonic() - began_s
        bad = [lack for lack in found if lack is not None]
        for lack in bad:
            self._tell(f"  NOT WHOLE: {lack}")
            if "WRONG" in str(lack) or not isinstance(lack, NotWhole):
                self._enter("any", "after the round", 0, "whole", "wrong" if "WRONG" in str(lack) else "lost", str(lack)[:200])
        sample = self._chance.sample(scene.held, min(SAMPLE, len(scene.held)))
        opened = await scene.read_patiently(sample)
        for one in sample:
            if opened.get(one.record_id, one.items) != one.items:
                self._enter("any", "opened", 0, "whole", "wrong")
        self._tell(f"  looked at and lacking: {scene.waited}")
        scene.waited.clear()
        self._tell(f"  whole after {whole_s:.0f} s, opened after {time.monotonic() - began_s:.0f} s")
        return not bad and len(opened) == len(sample)

    def failed(self, number: int, error: Exception) -> None:
        """A round that did not end as rounds do."""
        self._enter("any", f"round {number}", 0, "whole", "lost", f"{type(error).__name__} {error}"[:300])

    def _enter(self, part: str, way: str, nodes: int, phase: str, outcome: Outcome, said: str = "") -> None:
        self.cases.append(Case(part, way, nodes, phase, outcome, said))
        if outcome in ("lost", "wrong"):
            self._tell(f"  {outcome.upper()}: {part} {way} on {nodes} while {phase}: {said}")


PARTS = {
    "pack index": "packs/index/data.mdb",
    "placements": "placements/data.mdb",
    "mailbox tables": "mailbox/tables/data.mdb",
    "envelope keys": "mailbox/slots",
    "revocations": "revoked/data.mdb",
    "ledger": "ledger/data.mdb",
    "block log": "blocks.log",
    "sign state": "sign/sign-state",
    "kept block": "sign/kept-block",
    "everything": "",
}
OTHER_FILE = {
    "pack index": "placements",
    "placements": "mailbox tables",
    "mailbox tables": "pack index",
    "envelope keys": "kept block",
    "revocations": "pack index",
    "ledger": "mailbox tables",
    "block log": "envelope keys",
    "sign state": "kept block",
    "kept block": "pack index",
}
DERIVED = ("pack index", "placements", "mailbox tables", "envelope keys", "revocations", "ledger", "kept block")
"""Parts that any number of nodes may lose; of revocations no more than a release can do without."""
IN_USE = ("pack index", "placements", "mailbox tables", "ledger")


def _named(log: str) -> str:
    """The last words of a process that ended; a traceback is no name."""
    lines = [line for line in log.splitlines() if line.strip()]
    return "TRACEBACK" if "Traceback" in log else " | ".join(lines[-2:])[-200:]


def _empty(folder: Path) -> None:
    """As a new disk: the folder itself may be one that is mounted."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fill(folder: Path, leave: int) -> None:
    """A file that takes all the room there is but so much."""
    with (folder / "filler").open("wb") as file:
        with suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        with suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(512))
        if leave:
            file.truncate(file.tell() - leave)
