"""Records: four commitments each, admitted only when a quorum of nodes vouches that the bytes behind them are on disk.

The receipts sign the list hash of the batch's envelope digests, count included: not one record more than was vouched for gets in.
An envelope digest is registered once on the chain, so a capsule cannot come back under another policy, and its opening stays one.
"""

from __future__ import annotations

from hce.foundation.crypto.sign import verify
from hce.foundation.types.ladder import ladder, shards_to_admit
from hce.foundation.types.quorum import quorum
from hce.service.contracts.health.credentials import require_signer
from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import EnvelopeExists, PayerMismatch, RecordExists, RecordNotAvailable
from hce.service.terms.certification import require_organisation
from hce.service.terms.payloads import RecordBatch, availability_message, envelopes_root, record_id
from hce.service.terms.states import RecordState, key_envelope, key_record
from hce.service.terms.transactions import HealthTx


def check_batch(batch: RecordBatch) -> None:
    """What the batch alone shows: no record and no envelope twice, receipts of different nodes in the one order."""
    if len({entry.nonce for entry in batch.entries}) != len(batch.entries):
        raise RecordExists("named twice in the batch")
    if len({entry.envelope_digest for entry in batch.entries}) != len(batch.entries):
        raise EnvelopeExists("named twice in the batch")
    signers = [receipt.node for receipt in batch.receipts]
    if signers != sorted(set(signers)):
        raise RecordNotAvailable("receipts are sorted by node, one each", nodes=signers)


def commit_records(tx: HealthTx, batch: RecordBatch, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Register a batch under the organisation that signs and pays. Produces the record ids, in the order of the entries."""
    if tx.body.payer != batch.org_id:
        raise PayerMismatch("an organisation pays for its own records", org_id=batch.org_id.hex())
    author = require_organisation(state, batch.org_id, "write", env.height, env.time_ms)
    require_signer(tx, author.certificate.org_key)
    _check_available(batch, env)
    made = []
    for entry in batch.entries:
        name = record_id(env.chain, batch.org_id, entry.nonce)
        if state.has(key_record(name)):
            raise RecordExists(record_id=name.hex())
        if state.has(key_envelope(entry.envelope_digest)):
            raise EnvelopeExists(record_id=name.hex(), envelope_digest=entry.envelope_digest.hex())
        commitments = (entry.envelope_digest, entry.key_commitment, entry.policy_commitment)
        state.put(key_record(name), RecordState(batch.org_id, *commitments, batch.placement, env.height, env.time_ms))
        state.put(key_envelope(entry.envelope_digest), name)
        made.append(name)
    return made


def _check_available(batch: RecordBatch, env: BlockEnv) -> None:
    """quorum(n) nodes hold the envelopes, and enough shards to restore the content with one to spare are among them."""
    n = len(env.nodes)
    root = envelopes_root(batch.entries)
    for receipt in batch.receipts:
        if receipt.node >= n:
            raise RecordNotAvailable("no such node", node=receipt.node, nodes=n)
        if receipt.hold_until < env.height:
            raise RecordNotAvailable("promised too short", node=receipt.node, hold_until=receipt.hold_until, height=env.height)
        message = availability_message(env.chain, batch.placement, receipt.shard, root, receipt.node, env.epoch, receipt.hold_until)
        if not verify(env.nodes[receipt.node].service_key, message, receipt.signature):
            raise RecordNotAvailable("a receipt does not verify", node=receipt.node)
    if len(batch.receipts) < quorum(n):
        raise RecordNotAvailable("too few nodes", expected=quorum(n), actual=len(batch.receipts))
    shards = [receipt.shard for receipt in batch.receipts if receipt.shard is not None]
    held = len(shards) if ladder(n).k == 1 else len(set(shards))  # replicas are equal; of coded shards, the same twice is one
    if held < shards_to_admit(n):
        raise RecordNotAvailable("too few shards", expected=shards_to_admit(n), actual=held)
