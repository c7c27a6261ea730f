"""The scenes that need several nodes: damage that heals, machines that die, a network that halts and resumes.

Shards are damaged on as many nodes as the code bears, and must come back byte-identical without an operator; on one node more there is
a named error and never another byte. Then nodes are killed: with quorum(n) alive writing and reading go on; with one fewer, blocks stop
and what is final can still be opened while threshold(n) nodes live; and everything resumes by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from hce.app.devnet.damage import WAYS, damage_shards, put_back, shards_of
from hce.app.devnet.people import demo_bundles
from hce.app.tour.stage import (
    FIRST_DAY,
    LAST_DAY,
    Person,
    Practice,
    Result,
    Stage,
    Tell,
    attempt,
    contents_of,
    node_name,
    refusal,
)
from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import HceError
from hce.foundation.types.ladder import ladder
from hce.foundation.types.quorum import quorum, two_thirds
from hce.network.hcefs.manifest import read_manifest
from hce.service.sdk.node import NodeClient
from hce.service.sdk.reader import Reader
from hce.service.vault.granting import PreparedAccess, make_access

DAY_MS = 24 * 3_600_000
HEAL_PATIENCE_S = 60.0
RESUME_PATIENCE_S = 60.0
HALT_LOOK_S = 4.0
"""How long heights are watched to call a network halted; blocks are one second apart."""
POLL_S = 0.25


def expected(nodes: int) -> Result:
    """What the scenes promise; two dead nodes of four leave too few keyholders, three of nine leave just enough."""
    dead = nodes - quorum(nodes) + 1
    return {
        "restored_identical": True,
        "four_damaged": "blob.unrecoverable",
        "written_with_two_down": True,
        "opened_while_halted": True if nodes - dead >= two_thirds(nodes) else "release.too_few",
        "resumed": True,
        "roots_equal_after_rejoin": True,
    }


async def play_quorum(stage: Stage, person: Person, originals: Mapping[str, bytes], tell: Tell) -> Result:
    """Damage first, then deaths; every node runs again at the end."""
    result = await _damage(stage, person, originals, tell)
    result["four_damaged"] = await _damage_beyond_repair(stage, person, tell)
    return result | await _deaths(stage, person, tell)


async def _damage(stage: Stage, person: Person, originals: Mapping[str, bytes], tell: Tell) -> Result:
    """Every shard of m nodes is damaged, each node in another way; the owner reads all the same, and the disks heal."""
    victims = list(range(1, 1 + ladder(len(stage.network.genesis.nodes)).m))
    whole = {index: shards_of(stage.home, index) for index in victims}
    ways = {index: [way for place, way in enumerate(WAYS) if place % len(victims) == rank] for rank, index in enumerate(victims)}
    damaged = sum(map(len, whole.values()))
    for index, ways_here in ways.items():
        for way in ways_here:
            damage_shards(stage.home, index, way)
    tell("tour.damaged", shards=damaged, nodes=len(victims), ways=[way for here in ways.values() for way in here])
    read = contents_of((await person.owner.read_own()).opened.values()) == originals
    restored = sum([await _heal(stage, index, shards) for index, shards in whole.items()])
    identical = read and restored == sum(map(len, whole.values()))
    tell("tour.restored", shards=restored, identical=identical)
    return {"shards_damaged": damaged, "shards_restored": restored, "restored_identical": identical}


async def _heal(stage: Stage, index: int, shards: Mapping[bytes, bytes]) -> int:
    """Waits until the node serves its shards again; how many came back byte-identical."""
    node = await stage.network.node(index)
    missing = dict(shards)

    async def look() -> bool:
        served = await _served(node, list(missing))
        for name, content in served.items():
            if content == missing[name]:
                del missing[name]
        return not missing

    await _until(look, HEAL_PATIENCE_S)
    return len(shards) - len(missing)


async def _served(node: NodeClient, names: list[bytes]) -> dict[bytes, bytes]:
    """What the node answers for these shards; a list that ends early is asked on."""
    found: dict[bytes, bytes] = {}
    while names:
        answers = await node.shards(names[:64])
        if not answers:
            break
        found |= {name: content for name, content in zip(names, answers, strict=False) if content is not None}
        names = names[len(answers) :]
    return found


async def _damage_beyond_repair(stage: Stage, person: Person, tell: Tell) -> str:
    """One record's shards on one node more than the code bears: a named error, then the bytes are put back."""
    own = await person.owner.read_own()
    record = next(iter(own.opened.values()))
    blob = read_manifest(await stage.network.blob(record.state.placement), stage.network.chain)[0]
    shards = frozenset(blob.shards)
    victims = range(1, 2 + ladder(len(stage.network.genesis.nodes)).m)
    whole = {
        index: {name: content for name, content in shards_of(stage.home, index).items() if name in shards} for index in victims
    }
    for index in victims:
        damage_shards(stage.home, index, "flip", shards)
    code = await refusal(lambda: stage.network.blob(blob.ciphertext, record.state.placement))
    for index, originals in whole.items():
        put_back(stage.home, index, originals)
    tell("tour.beyond_repair", nodes=len(victims), code=code)
    return code


async def _deaths(stage: Stage, person: Person, tell: Tell) -> Result:
    """Kills as many as may die, then one more; then brings all back."""
    nodes = len(stage.network.genesis.nodes)
    mortal = [node_name(index) for index in range(nodes - 1, quorum(nodes) - 1, -1)]
    practice = Practice(stage.network)
    await practice.certify(stage.home, "Lighthouse Practice 灯塔诊所", ["read"])
    for name in mortal:
        await stage.kill(name)
    tell("tour.killed", names=", ".join(mortal))
    result: Result = {"nodes_killed": len(mortal)}
    made = await person.owner.grant(practice.ask(), lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    reader = await practice.accept(made)
    result["written_with_two_down"] = await attempt(lambda: _write_and_read(stage, reader))
    tell("tour.written_with_some_down", kept=result["written_with_two_down"])

    listing = await reader.listing()
    prepared = make_access(reader.parcel.body, practice.credential_id, sorted(listing)[:2], "treatment", "while it halts")
    await reader.enter(prepared)
    last = node_name(quorum(nodes) - 1)
    await stage.kill(last)
    halted = await _is_halted(stage)
    opened = await attempt(lambda: _opens(reader, prepared))
    result["opened_while_halted"] = opened if halted else "not halted"
    tell("tour.halted", name=last, opened=result["opened_while_halted"])

    await stage.restart(last)
    result["resumed"] = await _resumes(stage)
    for name in mortal:
        await stage.restart(name)
    result["roots_equal_after_rejoin"] = await _roots_are_equal(stage)
    tell("tour.rejoined", equal=result["roots_equal_after_rejoin"])
    return result


async def _write_and_read(stage: Stage, reader: Reader) -> bool:
    """A whole import into another account, and one record opened under the fresh grant."""
    written: list[str] = []
    async for event in stage.hospital.import_bundle(_somebody_new()):
        if event["event"] == "finished":
            written = event["records"]
    names = sorted(await reader.listing())[:1]
    read = await reader.read(names, "treatment", "with some nodes down")
    return bool(written) and len(read.opened) == len(names) == 1


def _somebody_new() -> bytes:
    """A demo person under a name and number of their own, so that every tour has something to write."""
    stamp = str(time.time_ns()).encode()
    _, bundle = demo_bundles()[0]
    return bundle.replace(b'"Fictional"', b'"Fictional ' + stamp + b'"').replace(b"DEMO-", stamp + b"-")


async def _opens(reader: Reader, prepared: PreparedAccess) -> bool:
    read = await reader.open(prepared, await reader.listing())
    if read.refused:
        raise next(iter(read.refused.values()))
    return len(read.opened) == len(prepared.records)


async def _is_halted(stage: Stage) -> bool:
    """Blocks that were under way may still come; then none does."""
    await asyncio.sleep(HALT_LOOK_S / 2)
    before = await stage.network.head()
    await asyncio.sleep(HALT_LOOK_S)
    return await stage.network.head() == before


async def _resumes(stage: Stage) -> bool:
    before = await stage.network.head()

    async def grown() -> bool:
        return await stage.network.head() >= before + 3

    return await _until(grown, RESUME_PATIENCE_S)


async def _roots_are_equal(stage: Stage) -> bool:
    """Every node has the same ledger header at a height all of them made final after the last one came back."""
    height = await stage.network.head() + 2
    clients = [await stage.network.node(index) for index in range(len(stage.network.genesis.nodes))]

    async def all_there() -> bool:
        statuses = await asyncio.gather(*(_height(client) for client in clients))
        return min(statuses) >= height

    if not await _until(all_there, RESUME_PATIENCE_S):
        return False
    headers = [encode((await client.final(height)).ledger) for client in clients]
    return len(set(headers)) == 1


async def _height(client: NodeClient) -> int:
    try:
        return int((await client.status())["height"])
    except HceError:
        return -1


async def _until(look: Callable[[], Awaitable[bool]], patience_s: float) -> bool:
    """Looks again and again; True as soon as it is so, False when patience ends. A node that does not answer is not there yet."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if await look():
                return True
        except HceError:
            pass
        await asyncio.sleep(POLL_S)
    return False
