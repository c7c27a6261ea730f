"""Borders behind which a room with real stores judges what came: ledger, mailbox, intake, keyholder, FHIR, backups.

Whoever attacks has keys of their own. So most of these take the unsigned body, sign it as its rightful author would, and hand it in:
what a signature keeps out is tried by the tests of that room.
"""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace
from tests.fuzz.shapes import value_of
from tests.service.intake.conftest import Scene as IntakeScene
from tests.service.keyholders import conftest as holders
from tests.service.keyholders.scene import NODE_KEY
from tests.service.keyholders.scene import Scene as ReleaseScene
from tests.service.ledger import chain as ledgers
from tests.service.mailbox.conftest import CHAIN, Post
from tests.service.running import bundle_of

from hce.app.archive import Head, unpack, writing
from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode, decode_as, encode
from hce.foundation.codec.rlp import rlp_decode, rlp_encode, rlp_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import deal
from hce.foundation.types.blocks import LedgerBlock
from hce.foundation.types.errors import HceError, Malformed
from hce.network.hcefs import peers
from hce.network.link.certificates import make_certificate
from hce.service.fhir.catalogue import FHIR_JSON
from hce.service.fhir.grouping import plan_import
from hce.service.fhir.scan import scan
from hce.service.fhir.summary import summary_line
from hce.service.keyholders import hearing
from hce.service.keyholders.revoked import RevokedSet
from hce.service.mailbox import catchup, replica
from hce.service.sdk.errors import remote
from hce.service.terms import grants, intake, mailbox
from hce.service.terms.records import ContentItem
from hce.service.terms.transactions import PAYLOADS, ROLES, UNPAID_KINDS, RoleSignature, SignedHealthTx, sign_message

EIP155 = ledgers.EIP155
CERTIFICATE = make_certificate(bytes(32), CHAIN, 0, 1_700_000_000_000)
GRANT, PATIENT = "grant", "patient"
_ALICE = EthSigningKey(bytes(ledgers.ALICE.key))
_SIGNERS = {
    "node": "node service",
    "organisation": "clinic",
    "payer": "clinic",
    "owner": PATIENT,
    "recovery": PATIENT + " recovery",
    "revoke_key": GRANT + " revoke",
    "reader": GRANT + " reader",
}
"""Role -> name of the key that may play it on the chain of `_ledger`."""

Read = Callable[[bytes], Any]


# Ledger


@contextmanager
def _ledger(folder: Path) -> Iterator[ledgers.Chain]:
    """A clinic that can pay, a patient's compartment, a grant, and the blocks they need."""
    made = ledgers.Chain(folder / "ledger")
    try:
        made.found("clinic")
        made.add([ledgers.enrol(PATIENT, "clinic", 5), ledgers.open_grant(GRANT, "clinic", 5)])
        yield made
    finally:
        made.close()


def health_body(rng: Random) -> bytes:
    """A body of any kind whose payload fits its types, and often the chain."""
    kind = rng.choice(list(PAYLOADS))
    payload = value_of(PAYLOADS[kind], rng)
    known = [ledgers.org("clinic"), ledgers.grant_name(GRANT), ledgers.key("node service").public]
    for at, field in enumerate(payload):
        if isinstance(field, bytes) and len(field) == 32 and rng.random() < 0.5:
            payload[at] = rng.choice(known)
    payer = None if kind in UNPAID_KINDS else ledgers.org("clinic")
    return encode(["hce/tx/1", ledgers.CHAIN, kind, payload, payer, rng.choice((3, 4, 9))])


@contextmanager
def _health(folder: Path) -> Iterator[Read]:
    """Into the pool; what is taken must be good for a block, whatever its contract says."""
    with _ledger(folder) as chain:

        def read(raw: bytes) -> bytes:
            match decode(raw):
                case [_, _, str(kind), *_]:
                    roles = ROLES.get(kind, (("payer",),))[0]
                case _:
                    raise Malformed("no body")
            keys = [(role, ledgers.key(_SIGNERS[role])) for role in roles]
            message = [sign_message(ledgers.CHAIN, role, cid_of_dag_cbor(raw)) for role in roles]
            made = [RoleSignature(role, key.public, key.sign(said)) for (role, key), said in zip(keys, message, strict=True)]
            signed = encode(SignedHealthTx(raw, made))
            name = chain.ledger.check_tx(signed)
            assert name == cid_of_dag_cbor(raw)
            block = chain.propose()
            chain.ledger.process_proposal(chain.context(), block)
            assert signed in block.health_txs
            chain.ledger.pool.evict(name)
            return raw

        yield read


@contextmanager
def _any_tx(folder: Path) -> Iterator[Read]:
    with _ledger(folder) as chain:
        yield chain.ledger.check_tx


def any_tx(rng: Random) -> bytes:
    return rng.choice([transfer, lambda rng: ledgers.enrol(f"p{rng.random()}", "clinic", 5)])(rng)


def transfer(rng: Random) -> bytes:
    to = rng.randbytes(20)
    extra: dict[str, Any] = rng.choice(
        [
            {},
            {"gasPrice": 2 * ledgers.GWEI},
            {"gasPrice": ledgers.GWEI, "accessList": [{"address": to, "storageKeys": [1]}], "gas": 60_000},
        ]
    )
    return ledgers.pay(ledgers.ALICE, to, rng.choice((0, 1, ledgers.HCET)), rng.randint(0, 2), **extra)


def value_fields(rng: Random) -> bytes:
    """Type byte and the unsigned fields of a type-2 transfer."""
    numbers = [rlp_integer(number) for number in (EIP155, rng.randint(0, 3), ledgers.GWEI, 2 * ledgers.GWEI, 21_000)]
    return b"\x02" + rlp_encode([*numbers, rng.randbytes(20), rlp_integer(rng.choice((0, 1, 2**255))), b"", []])


@contextmanager
def _value(folder: Path) -> Iterator[Read]:
    with _ledger(folder) as chain:

        def read(raw: bytes) -> None:
            fields = rlp_decode(raw[1:], max_bytes=4_096)
            if raw[:1] not in (b"\x01", b"\x02") or not isinstance(fields, list):
                raise Malformed("no fields")
            r, s, parity = _ALICE.sign(keccak256(raw))
            signed = raw[:1] + rlp_encode([*fields, rlp_integer(parity), rlp_integer(r), rlp_integer(s)])
            name = chain.ledger.check_tx(signed)
            chain.ledger.process_proposal(chain.context(), chain.propose())
            chain.ledger.pool.evict(name)

        yield read


@contextmanager
def _block(folder: Path) -> Iterator[Read]:
    """What a lying proposer may put into a block it signs: refused, or exactly what execution gives."""
    with _ledger(folder) as chain:

        def read(raw: bytes) -> None:
            block = decode_as(LedgerBlock, raw)
            with suppress_header(chain, block) as honest:
                chain.ledger.process_proposal(chain.context(), honest)
            chain.ledger.process_proposal(chain.context(), block)

        yield read


@contextmanager
def suppress_header(chain: ledgers.Chain, block: LedgerBlock) -> Iterator[LedgerBlock]:
    """The same lists under the header they would need; a list that no header fits is refused with a name."""
    with suppress(HceError):
        yield chain.forge(block.health_txs[:20], block.value_txs[:20])
        return
    yield block


_BLOCKS: list[bytes] = []


def block_seed(rng: Random) -> bytes:
    if not _BLOCKS:
        with TemporaryDirectory() as folder, _ledger(Path(folder)) as chain:
            health = [ledgers.enrol("other", "clinic", 5), ledgers.access(GRANT, 1, "clinic", 5), ledgers.revoke_grant(GRANT, 5)]
            _BLOCKS.append(encode(chain.forge(health, [ledgers.pay(ledgers.ALICE, b"\x77" * 20, 5, 1)])))
    return rng.choice(_BLOCKS)


# Mailbox


@contextmanager
def _box(folder: Path) -> Iterator[tuple[Post, Any]]:
    people = Post()
    with people.open(folder / "mailbox") as box:
        box.deposit(b"d" * 32, people.org_id, [people.delivery("a", "b", token=people.token()), people.delivery("c")], b"receipt")
        box.post(people.post(b"offer"))
        box.put_card(people.card())
        yield people, box


def _signers(people: Post) -> list[SigningKey]:
    return [people.feed_reader, people.owner, people.log_reader, people.org_key]


def _mailbox_room(operation: str, type_: Any, signed: Any, message: Callable[[Any], bytes]) -> Callable[[Path], Any]:
    @contextmanager
    def room(folder: Path) -> Iterator[Read]:
        with _box(folder) as (people, box):

            def read(raw: bytes) -> None:
                asked = decode_as(type_, raw)
                refused: list[HceError] = []
                for signer in _signers(people):
                    try:
                        encode(getattr(box, operation)(signed(asked, signer.sign(message(asked)))))
                    except HceError as error:
                        refused.append(error)
                if len(refused) == len(_signers(people)):
                    raise refused[0]

            yield read

    return room


def mail_read(rng: Random) -> bytes:
    people, what = Post(), rng.choice(("feed", "envelopes", "owner", "quarantine", "log", "inbox", "own-reads"))
    place = {"log": people.log_place, "inbox": [people.org_id]}.get(what, people.place)
    known = [people.record_id(name) for name in "abcz"]
    changes = {"after": rng.choice((0, 1, 2**40)), "limit": rng.choice((1, 500)), "records": known[: rng.randint(0, 4)]}
    return encode(people.read(what, place, people.owner, nonce=rng.randbytes(32), **changes).read)


def mail_act(rng: Random) -> bytes:
    people, what = Post(), rng.choice(("accept", "reject", "erase", "revoke-token", "drop", "drop-log"))
    place = {"drop": [people.org_id], "drop-log": people.log_place}.get(what, people.place)
    listed = [people.record_id(name) for name in "abcz"][: rng.randint(0, 4)]
    return encode(people.act(what, place=place, number=rng.choice((0, 1, 2, 99)), records=listed, nonce=rng.randbytes(32)).act)


def mail_post(rng: Random) -> bytes:
    return encode(Post().post(rng.randbytes(rng.choice((0, 1, 900))), nonce=rng.randbytes(32)).post)


def mail_card(rng: Random) -> bytes:
    return encode(Post().card().card)


class _Ear:
    """A channel that keeps what is served on it."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def serve(self, method: str, handler: Any, *, max_request_bytes: int) -> None:
        self.handlers[method] = handler

    async def request(self, peer: int, method: str, payload: bytes, timeout_s: float) -> bytes:
        raise NotImplementedError


def _peer_room(method: str) -> Callable[[Path], Any]:
    @contextmanager
    def room(folder: Path) -> Iterator[Read]:
        async def at_once(function: Any, *arguments: Any) -> Any:
            return function(*arguments)

        async def blobs(cids: list[bytes]) -> list[bytes | None]:
            return [b"x" * 100 if cid[-1] & 1 else None for cid in cids]

        ear = _Ear()
        with _box(folder) as (_, box), RevokedSet.open(folder / "revoked") as revoked, asyncio.Runner() as runner:
            catchup.serve(box.replica, ear, at_once)
            hearing.serve(revoked, lambda: 1, ear, at_once)
            peers.serve(ear, blobs)
            yield lambda raw: runner.run(ear.handlers[method](1, raw))

    return room


_QUESTIONS: dict[str, Any] = {
    catchup.ERASURES: replica.ErasedSince,
    catchup.NAMES: replica.Since,
    catchup.ITEMS: replica.Wanted,
    catchup.RECORDS: replica.RecordIds,
    peers.METHOD: peers.Cids,
    hearing.SEEN: hearing.SeenAfter,
}


def _question(type_: Any, rng: Random) -> bytes:
    return encode(value_of(type_, rng))


# Intake and release


@contextmanager
def _intake(folder: Path) -> Iterator[Read]:
    """A certified organisation that signs whatever it likes."""
    scene = IntakeScene()
    with scene.node(folder / "node") as node:

        def read(raw: bytes) -> None:
            batch = decode_as(intake.IntakeBatch, raw)
            node.intake.accept(scene.sign(batch))

        yield read


def batch(rng: Random) -> bytes:
    scene = IntakeScene()
    made = scene.batch()
    fresh = [replace(record, nonce=rng.randbytes(32)) for record in made.records]
    posts = [scene.post(0, fresh[:2], scene.token(0)), scene.post(1, fresh[2:], None)]
    return encode(replace(made, records=fresh, posts=posts))


_DEALT = deal(3, 2, holders.seed("keyholders"))
_OPENING = OpeningKey(holders.seed("x-wing"))


def release_request(rng: Random) -> bytes:
    request = holders.World(_DEALT, _OPENING).bind()[1]
    together = rng.choice([None, [0, 1], rng.choices(range(256), k=rng.randint(0, 9))])
    return encode(replace(request, together=together))


@contextmanager
def _release(folder: Path) -> Iterator[Read]:
    """Owner and reader sign what the request says, as if both were in the game."""
    world = holders.World(_DEALT, _OPENING)
    scene = ReleaseScene(world, folder)
    keyholder = scene.keyholder()
    assert NODE_KEY.public

    def read(raw: bytes) -> None:
        asked = decode_as(grants.ReleaseRequest, raw)
        message = grants.release_message(world.chain, asked.entry_id, asked.access.response_key, asked.requested)
        owner = world.owner.sign(grants.grant_message(asked.grant))
        keyholder.release(replace(asked, owner_signature=owner, credential_signature=world.person.sign(message)))

    try:
        yield read
    finally:
        scene.mailbox.close()
        scene.revoked.close()


# Files that people hand in


def bundle(rng: Random) -> bytes:
    return bundle_of("anna", ["a note", "another"][: rng.randint(0, 2)])


def backup(rng: Random) -> bytes:
    """A small backup as `hce backup` writes it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "backup.tar"
        with writing(path, Head("hce/backup/1", "node", "0", "00", 1, False)) as writer:
            writer.add_small("files/data/blocks.log", rng.randbytes(20))
        return path.read_bytes()


def _unpack(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "backup.tar"
        path.write_bytes(raw)
        unpack(path, Path(folder) / "into")
        size = sum(file.stat().st_size for file in (Path(folder) / "into").rglob("*") if file.is_file())
        assert size <= len(raw), "more than was handed in"


def sparse_backup(size: int) -> bytes:
    """A tar whose one entry says it is mostly a hole."""
    entry = tarfile.TarInfo("files/hole")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 0
    raw = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    raw[386:398], raw[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    raw[483:495] = b"%011o\0" % size
    checksum = sum(raw[:148]) + 8 * 32 + sum(raw[156:512])
    raw[148:156] = b"%06o\0 " % checksum
    out = io.BytesIO(bytes(raw))
    out.seek(0, io.SEEK_END)
    out.write(bytes(1024))
    return out.getvalue()


def _plan(raw: bytes) -> None:
    for record in plan_import(raw).records:
        json.dumps(record.kind)


def _scan(raw: bytes) -> None:
    for lines in (False, True):
        for found in scan(io.BytesIO(raw), 0, lines):
            assert found is not None


def _summary(raw: bytes) -> None:
    """A line about what some author wrote: nobody has gated it."""
    for language in ("en", "zh-CN"):
        line = summary_line("lab", "2020-01-01", [ContentItem("item", FHIR_JSON, raw)], language)
        assert isinstance(line, str)


def _problem(raw: bytes) -> None:
    assert isinstance(remote(500, raw, "http://node"), HceError)


def resource(rng: Random) -> bytes:
    entries = json.loads(bundle_of("anna", ["a note"]))["entry"]
    return json.dumps(rng.choice(entries)["resource"]).encode()


ROOMS: list[tuple[Any, ...]] = [
    ("pool", any_tx, _any_tx, None, False),
    ("health body", health_body, _health, None, False),
    ("value fields", value_fields, _value, None, False),
    ("ledger block", block_seed, _block, None, True),
    ("mailbox read", mail_read, _mailbox_room("read", mailbox.MailboxRead, mailbox.SignedRead, mailbox.read_message), None, False),
    ("mailbox act", mail_act, _mailbox_room("act", mailbox.MailboxAct, mailbox.SignedAct, mailbox.act_message), None, False),
    ("mailbox post", mail_post, _mailbox_room("post", mailbox.InboxPost, mailbox.SignedPost, mailbox.post_message), None, False),
    ("mailbox card", mail_card, _mailbox_room("put_card", grants.ContactCard, grants.SignedCard, grants.card_message), None, False),
    *((f"peer asks {method}", partial(_question, type_), _peer_room(method), None, True) for method, type_ in _QUESTIONS.items()),
    ("intake batch", batch, _intake, None, False),
    ("release request", release_request, _release, None, True),
    ("FHIR Bundle", bundle, lambda _: _plan, None, True),
    ("FHIR scan", bundle, lambda _: _scan, None, True),
    ("summary", resource, lambda _: _summary, None, True),
    ("problem answer", lambda rng: json.dumps({"code": "not_found", "detail": ""}).encode(), lambda _: _problem, None, True),
    ("backup", backup, lambda _: _unpack, None, True),
]
