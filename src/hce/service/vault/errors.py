"""What the vault refuses, by name. A message never holds a key, a plaintext byte or a date of the patient."""

from __future__ import annotations

from hce.foundation.types.errors import PeerFault, Refused, TooLarge, Unavailable


class CardInvalid(Refused):
    """A contact card that is expired, of another chain, not signed by the compartment's owner, or inconsistent in itself."""

    code = "card.invalid"


class TokenInvalid(Refused):
    """A write token that is expired, for another organisation or feed, or not signed by the owner."""

    code = "token.invalid"


class HandoverInvalid(Refused):
    """Earlier keys that do not open, were not signed by this owner, or are not this compartment's."""

    code = "handover.invalid"


class ClaimInvalid(Refused):
    """A claim for another organisation or network, or not signed by the card and the new owner key."""

    code = "claim.invalid"


class RecordTooLarge(TooLarge):
    """More content than one record holds inline."""

    code = "record.too_large"


class BatchTooLarge(TooLarge):
    """More records than one `record.commit` carries."""

    code = "batch.too_large"


class SessionNotOurs(Refused):
    """Lock A of a feed entry does not open with this compartment's reading key of this epoch."""

    code = "record.session_not_ours"


class OpeningInvalid(Refused):
    """An opening that does not open, or speaks of another compartment, epoch or chain than the feed it stands in."""

    code = "record.opening_invalid"


class EnvelopeSwapped(Refused):
    """The envelope is not the one the record was committed with."""

    code = "record.envelope_swapped"


class PolicySwapped(Refused):
    """Policy or placement are not the ones the record was committed with."""

    code = "record.policy_swapped"


class WrongKey(Refused):
    """The locks do not give the key this record was committed with."""

    code = "record.wrong_key"


class Tampered(Refused):
    """The ciphertext is not the one the author signed, or what is inside does not follow the format."""

    code = "record.tampered"


class AuthorNotCertified(Refused):
    """No person certified at the record's inclusion height signed it."""

    code = "record.author_not_certified"


class LocksDiffer(Refused):
    """Both locks and the owner's wrap do not all hide the committed key: the author cheated or erred. `lock` names the odd one."""

    code = "record.locks_differ"


class OwnerLockBroken(Refused):
    """The owner's lock or wrap does not open with this compartment's root key."""

    code = "record.owner_lock_broken"


class RequestInvalid(Refused):
    """An access request of somebody who may not read, or whose inbox key is not the certified one."""

    code = "request.invalid"


class GrantInvalid(Refused):
    """A grant whose dates, epochs, signature or card do not fit together."""

    code = "grant.invalid"


class ParcelNotOurs(Refused):
    """A grant parcel that does not open with our inbox key, or names a reader key that is not ours."""

    code = "grant.parcel_not_ours"


class GrantDiffers(Refused):
    """The grant body does not open the public commitment."""

    code = "grant.body_differs"


class AccessInvalid(Refused):
    """Records asked for that the entry does not name, none at all, or too many."""

    code = "access.invalid"


class BadReply(PeerFault):
    """A node's release reply does not open, or speaks for another node or key."""

    code = "release.bad_reply"


class TooFewParts(Unavailable):
    """Fewer honest partial decryptions than the threshold. Asking other nodes again is right."""

    code = "release.too_few_parts"
