"""Who may act: super nodes certify organisations by vote, organisations certify their clinicians and devices.

Powers only shrink on the way down. Every validity and every revocation counts from the block it stands in.
A vote is counted under its *subject*, a digest of everything it says: two certificates that differ in a byte gather votes apart.
A subject takes effect once, in the block that brings it to two_thirds(n); what nodes say after that is kept and moves nothing.
Otherwise a late vote for a first certificate would bring back an organisation that was revoked or renewed since.
Votes are free. So that one node cannot fill blocks with invented certificates, it has at most `MAX_OPEN_VOTES` votes on subjects that
took no effect; when it has, its next vote takes the place of its oldest one, but only once that is `VOTE_BLOCKS` old.
"""

from __future__ import annotations

from hce.foundation.types.blocks import Node
from hce.foundation.types.quorum import two_thirds
from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import (
    CredentialExists,
    CredentialRevoked,
    CredentialUnknown,
    DatesRefused,
    NotANode,
    OrganisationUnknown,
    OrganisationWrongKey,
    PayerMismatch,
    PowersNotSorted,
    PowersWidened,
    VoteNotOwn,
    VoteRepeated,
    VotesTooManyOpen,
)
from hce.service.terms.certification import require_organisation
from hce.service.terms.payloads import (
    CredentialBody,
    CredentialRevoke,
    OrganisationCertificate,
    OrganisationRevoke,
    OrganisationVote,
    PortalVote,
    credential_id,
    org_id,
    organisation_revoke_subject,
    organisation_subject,
    powers_are_valid,
)
from hce.service.terms.states import (
    MAX_OPEN_VOTES,
    CredentialState,
    OpenVote,
    OpenVotes,
    OrganisationState,
    key_credential,
    key_open_votes,
    key_organisation,
    key_organisation_effect,
    key_organisation_vote,
)
from hce.service.terms.transactions import HealthTx

VOTE_BLOCKS = 604_800
"""Blocks after which a vote without effect may give way to a new one: a week of one-second blocks, time to ask colleagues by telephone."""


def check_vote(vote: OrganisationVote) -> None:
    _check_terms(vote.certificate)


def check_credential(body: CredentialBody) -> None:
    _check_terms(body)


def vote_organisation(tx: HealthTx, vote: OrganisationVote, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Record one node's vote; the vote that completes two_thirds(n) certifies. Produces the org_id then, else nothing."""
    voter = voter_of(tx, vote, env)
    certificate = vote.certificate
    organisation = org_id(env.chain, certificate.org_key)
    _check_certificate(certificate, state.organisation(organisation), env)
    subject = organisation_subject(certificate)
    done = state.has(key_organisation_effect(subject))
    _cast(subject, voter, vote, state, env, done)
    if done or _approvals(subject, state, env) < two_thirds(len(env.nodes)):
        return []
    _close(subject, state, env)
    state.put(key_organisation_effect(subject), env.height)
    state.put(key_organisation(organisation), OrganisationState(certificate, env.height, None))
    return [organisation]


def revoke_organisation(tx: HealthTx, revoke: OrganisationRevoke, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Record one node's vote to revoke this certification; the vote that completes two_thirds(n) revokes, in this block."""
    voter = voter_of(tx, revoke, env)
    found = state.organisation(revoke.org_id)
    if found is None:
        raise OrganisationUnknown(org_id=revoke.org_id.hex())
    subject = organisation_revoke_subject(revoke.org_id, found.certified_height)
    done = found.revoked_height is not None
    _cast(subject, voter, revoke, state, env, done)
    votes = sum(state.has(key_organisation_vote(subject, node.service_key)) for node in env.nodes)
    if not done and votes >= two_thirds(len(env.nodes)):
        _close(subject, state, env)
        state.put(key_organisation(revoke.org_id), OrganisationState(found.certificate, found.certified_height, env.height))
    return []


def issue_credential(tx: HealthTx, body: CredentialBody, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Certify a clinician or device under the organisation that signs and pays. Produces the credential_id."""
    if tx.body.payer != body.org_id:
        raise PayerMismatch("an organisation pays for its own credentials", org_id=body.org_id.hex())
    certificate = require_organisation(state, body.org_id, None, env.height, env.time_ms).certificate
    require_signer(tx, certificate.org_key)
    if not set(body.powers) <= set(certificate.powers):
        raise PowersWidened(allowed=certificate.powers, actual=body.powers)
    if body.not_before_ms < certificate.not_before_ms or body.expires_at_ms > certificate.expires_at_ms:
        raise DatesRefused("outside of the organisation's own", expires_at_ms=certificate.expires_at_ms)
    if body.expires_at_ms <= env.time_ms:
        raise DatesRefused("over already", expires_at_ms=body.expires_at_ms, time_ms=env.time_ms)
    made = credential_id(env.chain, body)
    if state.credential(made) is not None:
        raise CredentialExists(credential_id=made.hex())
    state.put(key_credential(made), CredentialState(body, env.height, None, None))
    return [made]


def revoke_credential(tx: HealthTx, revoke: CredentialRevoke, state: HealthState, env: BlockEnv) -> list[bytes]:
    """End a credential in this block. An organisation that is itself expired or revoked may still do so: it takes power away."""
    found = state.credential(revoke.credential_id)
    if found is None:
        raise CredentialUnknown(credential_id=revoke.credential_id.hex())
    issuer = state.organisation(found.body.org_id)
    assert issuer is not None  # it issued the credential, and organisations are never deleted
    require_signer(tx, issuer.certificate.org_key)
    if found.revoked_height is not None:
        raise CredentialRevoked(credential_id=revoke.credential_id.hex(), revoked_height=found.revoked_height)
    state.put(key_credential(revoke.credential_id), CredentialState(found.body, found.issued_height, env.height, env.time_ms))
    return []


def require_signer(tx: HealthTx, org_key: bytes) -> None:
    """The `organisation` signature is by this key, the organisation's current one."""
    if tx.signer("organisation") != org_key:
        raise OrganisationWrongKey(expected=org_key.hex())


def voter_of(tx: HealthTx, vote: OrganisationVote | OrganisationRevoke | PortalVote, env: BlockEnv) -> int:
    """Index of the node that signed, which must be the one the vote names."""
    signer = tx.signer("node")
    if signer != vote.voter:
        raise VoteNotOwn(voter=vote.voter.hex())
    return node_of(env.nodes, signer)


def node_of(nodes: list[Node], service_key: bytes | None) -> int:
    """Index of the node in force whose service key this is."""
    for index, node in enumerate(nodes):
        if node.service_key == service_key:
            return index
    raise NotANode(service_key="" if service_key is None else service_key.hex())


def _check_terms(terms: OrganisationCertificate | CredentialBody) -> None:
    if not powers_are_valid(list(terms.powers)):
        raise PowersNotSorted(powers=terms.powers)
    if terms.not_before_ms >= terms.expires_at_ms:
        raise DatesRefused("empty", not_before_ms=terms.not_before_ms, expires_at_ms=terms.expires_at_ms)


def _check_certificate(certificate: OrganisationCertificate, before: OrganisationState | None, env: BlockEnv) -> None:
    """A certificate that is not over. One that begins later than the one it replaces would take away what is in force now."""
    if certificate.expires_at_ms <= env.time_ms:
        raise DatesRefused("over already", expires_at_ms=certificate.expires_at_ms, time_ms=env.time_ms)
    if before is not None and certificate.not_before_ms > before.certificate.not_before_ms:
        raise DatesRefused("a renewal keeps the first day", not_before_ms=before.certificate.not_before_ms)


def _cast(
    subject: bytes, voter: int, vote: OrganisationVote | OrganisationRevoke, state: HealthState, env: BlockEnv, done: bool
) -> None:
    """Keep a node's vote, once; while its subject is not `done` it counts as open."""
    service_key = env.nodes[voter].service_key
    key = key_organisation_vote(subject, service_key)
    if state.has(key):
        raise VoteRepeated(subject=subject.hex(), node=voter)
    if not done:
        _open(subject, service_key, state, env.height)
    state.put(key, vote)


def _open(subject: bytes, service_key: bytes, state: HealthState, height: int) -> None:
    """One more open vote of this node; where that is too many, the oldest is forgotten if it is old enough."""
    votes = state.open_votes(service_key)
    if len(votes) == MAX_OPEN_VOTES:
        oldest = votes.pop(0)
        if height < oldest.height + VOTE_BLOCKS:
            raise VotesTooManyOpen(max_open=MAX_OPEN_VOTES, allowed_height=oldest.height + VOTE_BLOCKS)
        state.delete(key_organisation_vote(oldest.subject, service_key))
    state.put(key_open_votes(service_key), OpenVotes([*votes, OpenVote(subject, height)]))


def _close(subject: bytes, state: HealthState, env: BlockEnv) -> None:
    """A subject takes effect: nobody's vote on it is open any more."""
    for node in env.nodes:
        before = state.open_votes(node.service_key)
        after = [vote for vote in before if vote.subject != subject]
        if not after and before:
            state.delete(key_open_votes(node.service_key))
        elif after != before:
            state.put(key_open_votes(node.service_key), OpenVotes(after))


def _approvals(subject: bytes, state: HealthState, env: BlockEnv) -> int:
    votes = (state.organisation_vote(subject, node.service_key) for node in env.nodes)
    return sum(vote is not None and vote.approve for vote in votes)
