"""What the ledger refuses: a transaction it will not take, a block it will not vote for, a store that is another chain's."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, NotFound, Refused, Unavailable


class TxReplayed(Refused):
    """This transaction is in a block of the replay window, or twice in this one. Signing it again changes nothing: the id is the body's."""

    code = "tx.replayed"
    status = 409


class TxExpired(Refused):
    """`valid_until` lies below the block."""

    code = "tx.expired"


class TxTooFarAhead(Refused):
    """`valid_until` lies beyond the replay window: the transaction could be forgotten while it is still valid."""

    code = "tx.valid_until_too_far"


class TxPending(Refused):
    """The transaction waits in the pool already, or another one that does the same."""

    code = "tx.pending"
    status = 409


class PayerCannotPay(Refused):
    """The tank of the paying organisation does not hold the fee."""

    code = "payer.cannot_pay"
    status = 402


class PoolFull(Refused):
    """No room for this transaction in its lane of the pool; other lanes may have room."""

    code = "pool.full"
    status = 429


class BlockFull(Refused):
    """The block has no room for this transaction: steps, gas or bytes."""

    code = "block.full"


class HeaderMismatch(Refused):
    """A field of the ledger header is not what execution gives."""

    code = "block.header_mismatch"


class UnknownVersion(Refused):
    """Rules this code does not know. The node stops before that height instead of guessing; update it."""

    code = "version.unknown"


class NotNextHeight(Unavailable):
    """The block is not the one after the last final one of this node."""

    code = "ledger.not_next_height"


class GenesisInvalid(Refused):
    """A genesis whose balances are not exactly the total supply, or that names an account twice."""

    code = "genesis.invalid"


class GenesisMismatch(Corrupt):
    """The folder holds the ledger of another genesis, or none."""

    code = "genesis.mismatch"


class ReplayDiffers(Corrupt):
    """A block handed in for a height that is final is not the one that became final."""

    code = "ledger.replay_differs"


class HeightUnknown(NotFound):
    """No final block of that height on this node."""

    code = "height.unknown"
