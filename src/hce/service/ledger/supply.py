"""Coins neither appear nor vanish: checked over the changed accounts of every block (and in tests over all accounts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hce.foundation.types.errors import Bug
from hce.service.contracts.value.accounts import decode_account, is_account_key


def require_supply_kept(changes: Mapping[bytes, bytes | None], before: Callable[[bytes], bytes | None]) -> None:
    """`Bug` unless the deltas of all changed balances add up to nothing: then no block is made, voted on or committed."""
    delta = sum(
        decode_account(after).balance - decode_account(before(key)).balance for key, after in changes.items() if is_account_key(key)
    )
    if delta:
        raise Bug(f"a block would change the supply by {delta} aHCE")
