"""What the runtime refuses, and what it cannot do with the disk it found."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, Refused, Unavailable


class SignRefused(Refused):
    """Signing this would contradict or precede something already signed."""

    code = "sign.refused"


class SignStateCorrupt(Corrupt):
    """The sign state is unreadable, of another node, or missing although this node has signed. Signing on could slash the node."""

    code = "sign.state_corrupt"


class SignStateBusy(Unavailable):
    """Another process uses this sign state."""

    code = "sign.state_busy"


class BlocksMissing(Corrupt):
    """The block log ends below the state, and a lone node has nobody to get the blocks from. Only a backup has them."""

    code = "chain.blocks_missing"


class BlockNotHere(Unavailable):
    """This node lost that block and is fetching it from the others; they have it."""

    code = "chain.block_not_here"


class ExecutionDiffers(Corrupt):
    """Executing a final block on this machine does not give the header that was voted on."""

    code = "chain.execution_differs"


class ChainMismatch(Corrupt):
    """The block log, the application and the genesis do not belong together."""

    code = "chain.mismatch"
