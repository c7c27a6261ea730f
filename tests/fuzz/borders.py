"""Every function where bytes of somebody else become a value: what it is called with, and valid examples to begin from.

A border must return or refuse by name: any other exception, another spelling that passes, or much time is a find. The same list
serves Hypothesis (`test_borders.py`, in `make test`) and atheris (`run.py`, in `make soak`). `docs/fuzzing.md` says what each stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
from rlp.exceptions import RLPException
from tests.fuzz import rooms
from tests.fuzz.shapes import FITTING, bytes_spoiled, spoiled, value_of

from hce.app.portal.verifying import Described, Listed, read_answer
from hce.foundation.codec.cid import digest_of_cid
from hce.foundation.codec.dagcbor import decode, decode_as, encode
from hce.foundation.codec.rlp import rlp_decode, rlp_encode
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.words import entropy_from_words, seed_from_words, words_from_entropy
from hce.foundation.proofs.authmap import EMPTY_ROOT, MapProof, verify_map_proof
from hce.foundation.proofs.listhash import ListProof, verify_list_proof
from hce.foundation.types.errors import HceError, Malformed
from hce.network.consensus import messages as consensus
from hce.network.consensus.prefix import MessageKind, final_block_height, proposal_prefix, votes_height
from hce.network.hcefs.manifest import PlacementManifest, read_manifest
from hce.network.hcefs.peers import Blobs, Cids
from hce.network.link import frames
from hce.network.link import messages as link
from hce.network.link.certificates import link_key_of
from hce.service.contracts.value.header import ValueHeader, decode_header, encode_header
from hce.service.contracts.value.transactions import decode_value_tx
from hce.service.keyholders import hearing
from hce.service.mailbox import replica
from hce.service.sdk.owner import OfferedGrant
from hce.service.terms import claims, genesis, grants, handovers, identity, mailbox, payloads, proofs, records, states, transactions
from hce.service.vault.claiming import card_key, new_code
from hce.service.vault.human import grant_sentence, revoke_sentence, sentence

CHAIN = rooms.CHAIN
Read = Callable[[bytes], Any]


class Border(NamedTuple):
    """`open(folder)` gives the function; `seed` a valid input; `again` the bytes of what was read, where it has one spelling."""

    name: str
    seed: Callable[[Random], bytes]
    open: Callable[[Path], Any]
    """A context manager that yields the function, or the function."""
    again: Callable[[Any], bytes] | None = None
    valid: bool = True
    """Whether seeds are taken: where a signature or a proof is missing they are refused by name."""


def _struct(name: str, type_: Any) -> Border:
    """A type that is decoded where it comes in and judged field by field afterwards."""
    return Border(name, lambda rng: encode(value_of(type_, rng)), lambda _: lambda raw: decode_as(type_, raw), encode)


_STRUCTS: dict[str, Any] = {
    "hcefs cids": Cids,
    "hcefs blobs": Blobs,
    "replica erasures": replica.Erasures,
    "replica names": replica.Names,
    "replica records": list[replica.PeerRecord | None],
    "revocations seen": hearing.Seen,
    "intake receipt": payloads.AvailabilityReceipt,
    "submitted": list[transactions.Submitted],
    "genesis": genesis.Genesis,
    "identity": identity.Identity,
    "final header": proofs.FinalHeader,
    "state proof": proofs.StateProof,
    "tx proof": proofs.TxProof,
    "whole block": proofs.WholeBlock,
    "anchor proofs": list[grants.AnchorProof | None],
    "mail page": mailbox.MailPage,
    "records page": mailbox.RecordsPage,
    "deletion receipt": mailbox.SignedDeletion,
    "own read": mailbox.SignedOwnRead,
    "access request": grants.AccessRequest,
    "offered grant": OfferedGrant,
    "grant parcel": grants.GrantParcel,
    "release reply": grants.ReleaseReply,
    "signed receipt": grants.SignedReceipt,
    "contact card": grants.SignedCard,
    "write token": grants.SignedToken,
    "handover": handovers.SignedHandover,
    "earlier seeds": handovers.EarlierSeeds,
    "claim": claims.SignedClaim,
    "claim finish": claims.ClaimFinish,
    "session entry": records.SessionEntry,
    "opening": records.Opening,
    "content": records.ContentManifest,
    "record state": states.RecordState,
    "grant state": states.GrantState,
    "portal state": states.PortalState,
}
"""Types whose decoding is all that happens at the border itself."""


def _tree(rng: Random, depth: int = 4) -> Any:
    kinds = [lambda: [_tree(rng, depth - 1) for _ in range(rng.randint(0, 4))]] * (2 * depth)
    kinds += [lambda: {str(rng.randint(0, 99)): _tree(rng, depth - 1)}] * depth
    return rng.choice([*kinds, lambda: rng.choice(FITTING)])()


def _tree_seed(rng: Random) -> bytes:
    return encode(_tree(rng))


def _message(rng: Random) -> bytes:
    kind, type_ = rng.choice(list(consensus._TYPES.items()))
    return encode([int(kind), value_of(type_, rng)])


def _read_message(raw: bytes) -> bytes:
    """As a node does: the prefix is believed before the rest is decoded, so it may not say anything else."""
    prefixed: Any = None
    match consensus.bounded_kind(raw):
        case MessageKind.PROPOSAL:
            prefixed = proposal_prefix(raw)
        case MessageKind.VOTES:
            prefixed = votes_height(raw)
        case MessageKind.FINAL_BLOCK:
            prefixed = final_block_height(raw)
    message = consensus.decode_message(raw)
    match message:
        case consensus.Proposal():
            assert prefixed == (message.height, message.round, message.block_id)
        case consensus.Votes():
            assert prefixed == message.votes[0].height
        case consensus.FinalBlock():
            assert prefixed == message.block.header.height
    return consensus.encode_message(message)


def _frames(rng: Random) -> bytes:
    kinds = [*frames.BOUNDS_BYTES]
    return b"".join(frames.encode_frame(rng.choice(kinds), rng.randbytes(rng.choice((1, 8)))) for _ in range(rng.randint(1, 5)))


def _read_frames(raw: bytes) -> list[frames.Frame]:
    decoder, found = frames.FrameDecoder(frames.BOUNDS_BYTES), []
    for at in range(0, len(raw), 7):
        decoder.feed(raw[at : at + 7])
        while (frame := decoder.next()) is not None:
            found.append(frame)
    held = len(decoder._buffer) + sum(decoder._sizes.values())
    assert held <= 2 * len(raw)  # what was read is let go with the next bytes
    return found


def _manifest(rng: Random) -> bytes:
    value = value_of(PlacementManifest, rng)
    value[0], value[1], value[2] = "hce/placement/1", CHAIN, [[value_of(payloads.Cid, rng), 100, []] for _ in value[2]]
    value[3], value[4] = 1, rng.randint(1, 9)
    for blob in value[2]:
        blob[2] = [blob[0]] * rng.randint(1, value[4])
    return encode(value)


def _rlp(rng: Random, depth: int = 3) -> Any:
    if depth and rng.random() < 0.6:
        return [_rlp(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return rng.randbytes(rng.choice((0, 1, 20, 32, 60)))


def _header(rng: Random) -> bytes:
    sizes = (32, 20, 32, 32, 32, None, None, None, None, None, 32)
    values = [rng.randbytes(size) if size else rng.choice((0, 1, 2**63, 2**64 - 1)) for size in sizes]
    order = ("parent_hash", "coinbase", "state_root", "transactions_root", "receipts_root")
    named = dict(zip(order, values, strict=False))
    numbers = dict(zip(("number", "gas_limit", "gas_used", "timestamp", "base_fee"), values[5:10], strict=True))
    return encode_header(ValueHeader(**named, **numbers, parent_beacon_root=values[10]))


def _sentence(rng: Random) -> bytes:
    return encode(["hce/grant/1", CHAIN, [CHAIN, *value_of(grants.GrantBody, rng)[1:]]])


def _read_sentence(raw: bytes) -> str:
    said = [grant_sentence(raw, language, lambda _: "A\u202e{}\n") for language in ("en", "zh-CN")]
    assert all(line.isprintable() for line in said)
    return said[0]


def _revocation(rng: Random) -> bytes:
    return encode(["hce/tx/1", CHAIN, "grant.revoke", [rng.randbytes(32)], None, 9])


def _act(rng: Random) -> bytes:
    return encode(["hce/mailbox-act/1", CHAIN, [CHAIN, *value_of(mailbox.MailboxAct, rng)[1:]]])


def _read_any_sentence(raw: bytes) -> str:
    said = sentence(raw, "en", lambda _: "A\u202e{}\n")
    assert said.isprintable()
    return said


def _code(rng: Random) -> bytes:
    return new_code(rng.randbytes).encode()


def _seed_words(rng: Random) -> bytes:
    return words_from_entropy(rng.randbytes(rng.choice((16, 32))), rng.choice(("en", "zh-CN"))).encode()


def _read_words(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "replace")
    entropy = entropy_from_words(text)
    assert len(seed_from_words(text)) == 64
    return entropy.reveal()


def _map_proof(raw: bytes) -> None:
    proof = decode_as(MapProof, raw)
    assert not verify_map_proof(bytes(32), b"key", b"value", proof)
    assert not verify_map_proof(EMPTY_ROOT, b"key", b"value", proof)


def _list_proof(raw: bytes) -> None:
    assert not verify_list_proof(bytes(32), b"item", decode_as(ListProof, raw))


_KEY = OpeningKey(bytes(range(32)))


def _sealed(rng: Random) -> bytes:
    return seal(_KEY.public, b"info", rng.randbytes(40))


def _certificate(raw: bytes) -> None:
    try:
        link_key_of(raw)
    except ValueError as error:
        raise Malformed("no certificate") from error


def _cid(raw: bytes) -> None:
    try:
        assert len(digest_of_cid(raw)) == 32
    except ValueError as error:
        raise Malformed("no CID") from error


def _eth(raw: bytes) -> bytes:
    return decode_value_tx(raw, rooms.EIP155).raw


def _plain(
    name: str, seed: Callable[[Random], bytes], read: Read, again: Callable[[Any], bytes] | None = None, valid: bool = True
) -> Border:
    return Border(name, seed, lambda _: read, again, valid)


_DESCRIBED = b'{"genesis":"01711220ab","nodes":["http://127.0.0.1:7100"],"gateways":["http://127.0.0.1:7150"]}'

BORDERS: list[Border] = [
    _plain("dag-cbor", _tree_seed, decode, encode),
    _plain("rlp", lambda rng: rlp_encode(_rlp(rng)), rlp_decode, rlp_encode),
    _plain("cid", lambda rng: value_of(payloads.Cid, rng), _cid),
    _plain("consensus message", _message, _read_message, lambda raw: raw),
    _plain("link frames", _frames, _read_frames),
    _plain("link hello", lambda rng: encode(value_of(link.Hello, rng)), lambda raw: decode_as(link.Hello, raw), encode),
    _plain(
        "link request",
        lambda rng: link.encode_request(link.Request(rng.randint(0, 2**32 - 1), "hcefs.blobs", rng.randbytes(9))),
        link.decode_request,
        link.encode_request,
    ),
    _plain(
        "link response",
        lambda rng: link.encode_response(link.Response(7, rng.choice([b"body", link.ErrorAnswer("code", "detail")]))),
        link.decode_response,
        link.encode_response,
    ),
    _plain("link gossip", lambda rng: link.encode_gossip(link.Gossiped(b"tx", 5)), link.decode_gossip, link.encode_gossip),
    _plain("link certificate", lambda _: rooms.CERTIFICATE, _certificate),
    _plain("placement manifest", _manifest, lambda raw: read_manifest(raw, CHAIN)),
    _plain("value header", _header, decode_header, encode_header),
    _plain("value transaction", rooms.transfer, _eth, lambda raw: raw),
    _plain("map proof", lambda rng: encode(value_of(MapProof, rng)), _map_proof),
    _plain("list proof", lambda rng: encode(value_of(ListProof, rng)), _list_proof),
    _plain("seed words", _seed_words, _read_words),
    _plain("sealed bytes", _sealed, lambda raw: _KEY.open(b"info", raw)),
    _plain("grant sentence", _sentence, _read_sentence, valid=False),
    _plain("revoke sentence", _revocation, lambda raw: revoke_sentence(raw, "en", lambda _: None)),
    _plain("owner sentence", _act, _read_any_sentence, valid=False),
    _plain("claim code", _code, lambda raw: card_key(raw.decode("utf-8", "replace"))),
    _plain("portal network", lambda _: _DESCRIBED, lambda raw: read_answer(Described, raw, "http://portal")),
    _plain(
        "portal files",
        lambda _: b'{"bundle":"ab","files":["index.html","assets/a-1.js"]}',
        lambda raw: read_answer(Listed, raw, ""),
    ),
    *(_struct(name, type_) for name, type_ in _STRUCTS.items()),
    *(Border(*room) for room in rooms.ROOMS),
]
BY_NAME = {border.name: border for border in BORDERS}


@contextmanager
def opened(border: Border, folder: Path) -> Iterator[Read]:
    """The border's function, over real stores where it needs any."""
    made = border.open(folder)
    if hasattr(made, "__enter__"):
        with made as read:
            yield read
    else:
        yield made


def takes(border: Border, read: Read, raw: bytes) -> bool:
    """Whether the border takes these bytes. Lets through whatever no border may raise, and finds two spellings of one value."""
    try:
        value = read(raw)
    except HceError as refusal:
        if refusal.code == HceError.code:
            raise
        return False
    assert border.again is None or border.again(value) == raw, "two spellings of one value"
    return True


def attacked(border: Border, rng: Random) -> bytes:
    """A valid input of this border made wrong."""
    return respoiled(border.seed(rng), rng) if rng.random() < 0.7 else bytes_spoiled(border.seed(rng), rng)


def respoiled(raw: bytes, rng: Random) -> bytes:
    """The value behind the bytes made wrong, in whichever of our codings they are; the bytes themselves when they are in none."""
    for read, write in ((decode, encode), (msgspec.json.decode, msgspec.json.encode), (rlp_decode, rlp_encode)):
        try:
            tree = read(raw)
            for _ in range(rng.choice((1, 1, 2, 4))):
                tree = spoiled(tree, rng)
            return bytes(write(tree))
        except (HceError, RLPException, ValueError, TypeError, OverflowError, RecursionError):
            continue
    return bytes_spoiled(raw, rng)
