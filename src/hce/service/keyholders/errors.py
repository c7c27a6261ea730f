"""Why a keyholder does not release, one code for each reason."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, NotFound, Refused, Unavailable


class NodeSyncing(Unavailable):
    """A peer showed a commit above this node's state: what it holds may be old, so it releases nothing."""

    code = "release.syncing"


class NoKeyholders(Unavailable):
    """The state names no keyholders, or this node's share is of another key or sharing epoch."""

    code = "release.no_keyholders"


class EntryUnknown(NotFound):
    """No final access entry under that id: no key without a ledger entry."""

    code = "release.entry_unknown"


class GrantUnknown(NotFound):
    """No grant under that id on chain."""

    code = "release.grant_unknown"


class CompartmentUnknown(NotFound):
    """No compartment under that id on chain."""

    code = "release.compartment_unknown"


class RecordUnknown(NotFound):
    """A requested record is not on chain."""

    code = "release.record_unknown"


class WrongChain(Refused):
    """The grant was signed for another network."""

    code = "release.wrong_chain"


class EntryNotFinal(Refused):
    """The access entry stands above the final height."""

    code = "release.entry_not_final"


class EntryTooManyBlocks(Refused):
    """The access entry is older than `entry_max_blocks`."""

    code = "release.entry_old_blocks"


class EntryTooOld(Refused):
    """The access entry is older than `entry_max_ms`: a halted chain stops opening."""

    code = "release.entry_old_time"


class AccessMismatch(Refused):
    """The opened access body is not the one the entry committed to."""

    code = "release.access_mismatch"


class EntryOfOtherGrant(Refused):
    """The entry stands under another grant than the access body names."""

    code = "release.entry_of_other_grant"


class GrantIdMismatch(Refused):
    """The grant body does not make the id the access names: an old body under a new id."""

    code = "release.grant_id_mismatch"


class GrantFieldsMismatch(Refused):
    """The grant's public fields on chain are not those of the body."""

    code = "release.grant_fields_mismatch"


class BadOwnerSignature(Refused):
    """The grant body is not signed by the owner key it names."""

    code = "release.bad_owner_signature"


class OwnerChanged(Refused):
    """The key that signed the grant does not own the compartment now."""

    code = "release.owner_changed"


class CompartmentVersionChanged(Refused):
    """The grant names another version of the compartment."""

    code = "release.compartment_version"


class GrantVoided(Refused):
    """The grant is older than the compartment's last rotation."""

    code = "release.grant_voided"


class GrantRevoked(Refused):
    """The grant is revoked on chain."""

    code = "release.grant_revoked"


class RevokeSeen(Refused):
    """This node has precommitted or received a valid revocation of the grant."""

    code = "release.revoke_seen"


class GrantNotYetValid(Refused):
    """The grant begins later."""

    code = "release.grant_not_yet_valid"


class GrantExpired(Refused):
    """The grant has ended, by block time or by the local clock."""

    code = "release.grant_expired"


class PurposeMismatch(Refused):
    """The access names another purpose than the grant."""

    code = "release.purpose_mismatch"


class RecordsRootMismatch(Refused):
    """The listed records are not the ones the entry committed to."""

    code = "release.records_root_mismatch"


class RecordsCountMismatch(Refused):
    """More or fewer records than the entry committed to."""

    code = "release.records_count_mismatch"


class RecordRepeated(Refused):
    """A record is requested twice."""

    code = "release.record_repeated"


class RecordNotInEntry(Refused):
    """A requested record is not in the entry."""

    code = "release.record_not_in_entry"


class OpeningsMismatch(Refused):
    """Not exactly one opening for each requested record."""

    code = "release.openings_mismatch"


class ReaderNotCertified(Refused):
    """The individual's credential is not certified to read now, or its organisation is not."""

    code = "release.reader_not_certified"


class NotTheGrantee(Refused):
    """The individual is neither the grantee nor of the organisation that is."""

    code = "release.not_the_grantee"


class BadReaderSignature(Refused):
    """The request is not signed by the individual's key over entry, response key and requested records."""

    code = "release.bad_reader_signature"


class PolicyMismatch(Refused):
    """An opened policy is not the one the record committed to: re-salted, altered or another record's."""

    code = "release.policy_mismatch"


class EnvelopeMismatch(Refused):
    """The shown capsule is not in the envelope the record committed to: a swapped envelope."""

    code = "release.envelope_mismatch"


class PolicyOfOtherChain(Refused):
    """The record's policy belongs to another network."""

    code = "release.policy_of_other_chain"


class OtherCompartment(Refused):
    """A requested record is of another compartment than the grant."""

    code = "release.other_compartment"


class OutsideDates(Refused):
    """A requested record's day is outside of the granted days."""

    code = "release.outside_dates"


class AuthorNotCertified(Refused):
    """The record's author was not certified to write when the record was included, or by another organisation than committed it."""

    code = "release.author_not_certified"


class CapsuleMismatch(Refused):
    """The capsule was not made for this record under the keyholders' key: copied or registered again elsewhere."""

    code = "release.capsule_mismatch"


class ShareExposed(Corrupt):
    """The file of the key share can be read by others than its owner; chmod 600 and consider the share known."""

    code = "keyshare.exposed"


class ShareUnfit(Corrupt):
    """The file holds no key share, or not the one the chain says this node has."""

    code = "keyshare.unfit"
