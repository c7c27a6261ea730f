"""The health chain's native contracts: credentials, compartments, records, grants, access.

In: a parsed transaction, the journal, the block. Out: changes in the journal and the ids made, or a `Refused` with a code.
Called by the ledger alone. Never: signing, fees, order and replay (the ledger's), a clock, a socket, a disk.
One file per contract; `apply` holds the table of kinds, `steps` the meter, `errors` every reason to refuse.
"""

from hce.service.contracts.health.apply import (
    CONTRACTS,
    apply,
    check_stateless,
    genesis_writes,
    payer_key,
    revokes_of,
)
from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.steps import steps_of

__all__ = [
    "CONTRACTS",
    "BlockEnv",
    "HealthState",
    "apply",
    "check_stateless",
    "genesis_writes",
    "payer_key",
    "revokes_of",
    "steps_of",
]
