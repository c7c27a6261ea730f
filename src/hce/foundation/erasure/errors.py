"""Why shards do not give content."""

from __future__ import annotations

from hce.foundation.types.errors import Malformed, Unavailable


class TooFewShards(Unavailable):
    """Fewer than k shards: the content cannot be computed from them."""

    code = "erasure.too_few_shards"


class ShardsUnfit(Malformed):
    """Sizes or numbers of shards are not those of one content under this code."""

    code = "erasure.shards_unfit"
