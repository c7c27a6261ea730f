"""Why the mailbox refuses, one code for each reason."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, NotFound, Refused, TooLarge, Unavailable


class WrongChain(Refused):
    """Signed for another network."""

    code = "mailbox.wrong_chain"


class WrongNode(Refused):
    """Signed for another node: numbers and answers are each node's own."""

    code = "mailbox.wrong_node"


class CardOutsideDates(Refused):
    """A contact card from another time, or with a longer life than cards have."""

    code = "mailbox.card_outside_dates"


class CardOlder(Refused):
    """A newer card is kept for that feed."""

    code = "mailbox.card_older"
    status = 409


class HandoverOlder(Refused):
    """A newer handover of earlier keys is kept there."""

    code = "mailbox.handover_older"
    status = 409


class NotCurrentOwner(Refused):
    """The key that asks as owner is not the owner key of the compartment it names, or the place does not belong to it."""

    code = "mailbox.not_current_owner"


class Behind(Unavailable):
    """This node's chain does not know the compartment yet."""

    code = "mailbox.behind"


class PlaceOfOtherCompartment(Refused):
    """The place is bound to another compartment."""

    code = "mailbox.place_of_other_compartment"


class Stale(Refused):
    """The request's time is too far from this node's clock, or its nonce was used before. Sign it anew."""

    code = "mailbox.stale"


class TooManyRequests(Unavailable):
    """More signed requests of one asker within the freshness window than this node remembers."""

    code = "mailbox.too_many_requests"
    status = 429


class BadSignature(Refused):
    """Not signed by the key the place names for this kind."""

    code = "mailbox.bad_signature"


class ItemUnknown(NotFound):
    """No such item at that address."""

    code = "mailbox.item_unknown"


class RecordOfOtherFeed(Refused):
    """The record's envelope belongs to another feed."""

    code = "mailbox.record_of_other_feed"


class RecordErased(Refused):
    """The record was erased by its owner: it is not taken again."""

    code = "mailbox.record_erased"
    status = 410


class RecordConflict(Refused):
    """Another envelope is stored under that record id."""

    code = "mailbox.record_conflict"
    status = 409


class ItemTooLarge(TooLarge):
    """One item is longer than its kind allows."""

    code = "mailbox.item_too_large"


class AddressFull(Refused):
    """The address holds as many items or bytes as its kind allows. Never an inbox: those drop their oldest."""

    code = "mailbox.address_full"
    status = 507


class KindFull(Unavailable):
    """All addresses of this kind together hold as many bytes as this node gives them."""

    code = "mailbox.kind_full"
    status = 507


class PeriodClosed(Unavailable):
    """The period of this receipt was closed for its anchor meanwhile; a newer final block gives it another."""

    code = "mailbox.period_closed"


class PeriodFull(Unavailable):
    """As many receipts as one period takes."""

    code = "mailbox.period_full"
    status = 507


class EnvelopeCorrupt(Corrupt):
    """A stored envelope does not open under its slot's key."""

    code = "mailbox.envelope_corrupt"


class SlotsCorrupt(Corrupt):
    """The slot file is not one, or is shorter than the store says."""

    code = "mailbox.slots_corrupt"
