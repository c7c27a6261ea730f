"""What HCE-FS cannot give."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, Malformed, Unavailable


class BlobUnrecoverable(Unavailable):
    """Fewer than k good shards can be reached now: more nodes are away or damaged than the code bears."""

    code = "blob.unrecoverable"


class BlobMiscoded(Corrupt):
    """Shards that are what the placement names do not give the ciphertext it names: its author dispersed something else."""

    code = "blob.miscoded"


class PlacementInvalid(Malformed):
    """A placement manifest that no placing could have made."""

    code = "placement.invalid"
