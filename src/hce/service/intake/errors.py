"""Why a batch is not taken in, one code for each reason. An uncertified organisation is `organisation.not_certified`."""

from __future__ import annotations

from hce.foundation.types.errors import Refused, TooLarge, Unavailable


class WrongChain(Refused):
    """Batch or placement manifest are of another network."""

    code = "intake.wrong_chain"


class BadSignature(Refused):
    """The batch is not signed by the organisation's current key."""

    code = "intake.bad_signature"


class PlacementMismatch(Refused):
    """The placement manifest does not have one blob for each record, or does not name the bytes that came."""

    code = "intake.placement_mismatch"


class RecordRepeated(Refused):
    """Two records of the batch have one id."""

    code = "intake.record_repeated"


class OwnerWrapMismatch(Refused):
    """An owner wrap is not the one its envelope names."""

    code = "intake.owner_wrap_mismatch"


class EntryMismatch(Refused):
    """The session entries do not name exactly the batch's records, feed by feed, in order."""

    code = "intake.entry_mismatch"


class BatchTooLarge(TooLarge):
    """All blobs together are more than one batch may bring."""

    code = "intake.batch_too_large"


class UnadmittedFull(Unavailable):
    """As many bytes of this organisation as a node keeps wait here for their records to be final. Commit those first."""

    code = "intake.unadmitted_full"
    status = 507
