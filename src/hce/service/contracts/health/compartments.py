"""Compartments: the unit of ownership. The chain knows digests of two keys and a version, never a person."""

from __future__ import annotations

from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import CompartmentExists, CompartmentUnknown, CompartmentWrongKey
from hce.service.terms.payloads import CompartmentOpen, CompartmentRotate, compartment_id, owner_digest
from hce.service.terms.states import CompartmentState, key_compartment
from hce.service.terms.transactions import HealthTx

FIRST_VERSION = 1


def open_compartment(tx: HealthTx, opening: CompartmentOpen, state: HealthState, env: BlockEnv) -> list[bytes]:
    """A certified organisation enrols an owner. Produces the compartment_id, which names the first owner digest for ever."""
    made = compartment_id(env.chain, opening)
    if state.compartment(made) is not None:
        raise CompartmentExists(compartment_id=made.hex())
    opened = CompartmentState(opening.owner_digest, opening.recovery_digest, FIRST_VERSION, env.height, env.height)
    state.put(key_compartment(made), opened)
    return [made]


def rotate_compartment(tx: HealthTx, rotation: CompartmentRotate, state: HealthState, env: BlockEnv) -> list[bytes]:
    """New keys, and every grant opened below this height is void. Signed by the current owner key or the recovery key."""
    found = state.compartment(rotation.compartment_id)
    if found is None:
        raise CompartmentUnknown(compartment_id=rotation.compartment_id.hex())
    _require_key(tx, "owner", found.owner_digest)
    _require_key(tx, "recovery", found.recovery_digest)
    rotated = CompartmentState(rotation.owner_digest, rotation.recovery_digest, found.version + 1, env.height, found.opened_height)
    state.put(key_compartment(rotation.compartment_id), rotated)
    return []


def _require_key(tx: HealthTx, role: str, expected: bytes) -> None:
    """Where this role signed, it used the key behind the stored digest. `parse` saw to it that exactly one of the two roles did."""
    key = tx.signer(role)
    if key is not None and owner_digest(key) != expected:
        raise CompartmentWrongKey(role=role, expected=expected.hex())
