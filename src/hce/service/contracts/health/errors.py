"""Why the health chain refuses. The code is what the receipt of a failed transaction carries, for ever: codes are never renamed.

`organisation.not_certified` and `credential.not_certified` live in `terms.certification`, because readers raise them too.
"""

from __future__ import annotations

from hce.foundation.types.errors import Refused


class StepsExceeded(Refused):
    """The transaction takes more steps than one may."""

    code = "tx.too_many_steps"
    status = 413


class PayerMismatch(Refused):
    """The payer is not the organisation that this kind must be paid by, or its signature is by another key."""

    code = "payer.wrong_key"


class NotANode(Refused):
    """A vote signed by a key that is no service key of a node in force."""

    code = "vote.not_a_node"


class VoteNotOwn(Refused):
    """A vote in another node's name."""

    code = "vote.not_own"


class VoteRepeated(Refused):
    """This node has voted on this subject."""

    code = "vote.repeated"
    status = 409


class VotesTooManyOpen(Refused):
    """This node has voted on as many subjects without effect as it may; the oldest of its votes is not yet old enough to give way."""

    code = "vote.too_many_open"
    status = 429


class DatesRefused(Refused):
    """A validity that is empty, over, longer than allowed, or outside of what it derives from."""

    code = "dates.refused"


class PowersNotSorted(Refused):
    """Powers are a sorted list without repeats, so that one set has one spelling."""

    code = "powers.not_sorted"
    status = 400


class PowersWidened(Refused):
    """A credential claims a power its organisation does not have."""

    code = "powers.widened"


class OrganisationUnknown(Refused):
    """No organisation was ever certified under this id."""

    code = "organisation.unknown"
    status = 404


class OrganisationWrongKey(Refused):
    """Signed in the organisation's name with a key that is not its own."""

    code = "organisation.wrong_key"


class CredentialExists(Refused):
    """The very same credential was issued before; a revoked one does not come back."""

    code = "credential.exists"
    status = 409


class CredentialUnknown(Refused):
    """No credential was ever issued under this id."""

    code = "credential.unknown"
    status = 404


class CredentialRevoked(Refused):
    """The credential is revoked already."""

    code = "credential.revoked"
    status = 409


class CompartmentExists(Refused):
    """A compartment was opened with this owner digest before."""

    code = "compartment.exists"
    status = 409


class CompartmentUnknown(Refused):
    """No compartment was ever opened under this id."""

    code = "compartment.unknown"
    status = 404


class CompartmentWrongKey(Refused):
    """Signed as owner or recovery with a key that is not the compartment's current one."""

    code = "compartment.wrong_key"


class CompartmentUnchanged(Refused):
    """A rotation to the keys that are in force."""

    code = "compartment.unchanged"
    status = 409


class CompartmentRotatedRecently(Refused):
    """The compartment was rotated too few blocks ago for another free rotation by this key."""

    code = "compartment.rotated_recently"
    status = 429


class RecoveryKeyKept(Refused):
    """The owner key tried to replace the recovery key: only the recovery key itself may."""

    code = "compartment.recovery_kept"


class RecordExists(Refused):
    """A record of this id is registered, or named twice in the batch."""

    code = "record.exists"
    status = 409


class EnvelopeExists(Refused):
    """This envelope belongs to a record already: a capsule is registered once, under one policy."""

    code = "envelope.exists"
    status = 409


class RecordNotAvailable(Refused):
    """Too few nodes vouch, validly, that exactly this batch is on their disks."""

    code = "record.not_available"


class GrantExists(Refused):
    """The same public grant was opened before; a revoked or expired one does not come back."""

    code = "grant.exists"
    status = 409


class GrantKeysEqual(Refused):
    """The reader could revoke, or the owner read: the two keys of a grant are different keys."""

    code = "grant.keys_equal"


class GrantUnknown(Refused):
    """No grant was ever opened under this id."""

    code = "grant.unknown"
    status = 404


class GrantWrongKey(Refused):
    """Signed with another key than the one the grant names for this."""

    code = "grant.wrong_key"


class GrantRevoked(Refused):
    """The grant is revoked."""

    code = "grant.revoked"


class GrantNotYetValid(Refused):
    """The block is before the first instant of the grant."""

    code = "grant.not_yet_valid"


class GrantExpired(Refused):
    """The block is at or after the instant the grant dies."""

    code = "grant.expired"


class EntryExists(Refused):
    """The same access entry stands under this grant."""

    code = "entry.exists"
    status = 409


class AnchorNotOwn(Refused):
    """An anchor in another node's name."""

    code = "anchor.not_own"


class AnchorTooEarly(Refused):
    """The period is not over: more receipts may come."""

    code = "anchor.too_early"


class AnchorTooLate(Refused):
    """The period ended too long ago to be anchored."""

    code = "anchor.too_late"


class AnchorExists(Refused):
    """This node has anchored this period: a list is said once."""

    code = "anchor.exists"
    status = 409


class PortalWrongNumber(Refused):
    """An edition of the portal's page is numbered one above the newest that was published."""

    code = "portal.wrong_number"
    status = 409


class PortalVotedRecently(Refused):
    """This node voted for another page under the same number too few blocks ago to change its mind."""

    code = "portal.voted_recently"
    status = 429
