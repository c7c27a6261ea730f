"""A stored bucket, changed in any way, is byte for byte the one built from nothing."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.proofs.authmap import EMPTY_BUCKET, Leaf
from hce.foundation.proofs.listhash import list_root
from hce.foundation.store.mapbucket import StoredBucket


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def built(content: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Hash and bytes of a bucket filled at once."""
    bucket = StoredBucket(b"")
    for path, value_hash in content.items():
        bucket.put(path, value_hash)
    return bucket.seal(), bucket.encode()


numbers = st.integers(0, 24)
batches = st.lists(st.lists(st.tuples(numbers, st.none() | numbers), max_size=12), max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 40), batches)
def test_any_batches_lead_to_the_bucket_built_from_nothing(filled: int, changes: list[list[tuple[int, int | None]]]) -> None:
    content = {digest(number): digest(0) for number in range(filled)}
    _, raw = built(content)
    for batch in changes:
        bucket = StoredBucket(raw)
        for path_number, value in batch:
            path = digest(path_number)
            if value is None:
                bucket.remove(path)
                content.pop(path, None)
            else:
                bucket.put(path, digest(value))
                content[path] = digest(value)
        sealed, raw = bucket.seal(), bucket.encode()
        rows = sorted(content.items())
        assert sealed == (list_root([path + value_hash for path, value_hash in rows]) if rows else EMPTY_BUCKET)
        assert (sealed, raw) == built(content)
        assert StoredBucket(raw).leaves() == [Leaf(*row) for row in rows]


def test_a_bucket_without_leaves_is_no_bytes() -> None:
    bucket = StoredBucket(built({digest(1): digest(1)})[1])
    bucket.remove(digest(1))
    assert (bucket.seal(), bucket.encode()) == (EMPTY_BUCKET, b"")
