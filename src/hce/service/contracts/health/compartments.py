"""Compartments: the unit of ownership. The chain knows digests of two keys and a version, never a person.

Rotating is free, so that nobody is locked into stolen keys, and therefore bounded: a key that rotated waits `rotation_blocks` before
the next time, and a rotation that changes nothing is refused. The two keys are not equals. The owner key is the one in daily use, and
the one that gets stolen; it replaces itself and nothing else. Only the recovery key, which lies in a drawer, replaces both. And an
owner rotation never makes it wait: whatever a thief of the owner key does, the recovery key undoes it in the very next transaction.
"""

from __future__ import annotations

from typing import Literal

from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import (
    CompartmentExists,
    CompartmentRotatedRecently,
    CompartmentUnchanged,
    CompartmentUnknown,
    CompartmentWrongKey,
    RecoveryKeyKept,
)
from hce.service.terms.payloads import CompartmentOpen, CompartmentRotate, compartment_id, owner_digest
from hce.service.terms.states import CompartmentState, key_compartment
from hce.service.terms.transactions import HealthTx

FIRST_VERSION = 1


def open_compartment(tx: HealthTx, opening: CompartmentOpen, state: HealthState, env: BlockEnv) -> list[bytes]:
    """A certified organisation enrols an owner. Produces the compartment_id, which names the first owner digest for ever."""
    made = compartment_id(env.chain, opening)
    if state.compartment(made) is not None:
        raise CompartmentExists(compartment_id=made.hex())
    opened = CompartmentState(opening.owner_digest, opening.recovery_digest, FIRST_VERSION, env.height, env.height, None)
    state.put(key_compartment(made), opened)
    return [made]


def rotate_compartment(tx: HealthTx, rotation: CompartmentRotate, state: HealthState, env: BlockEnv) -> list[bytes]:
    """New keys, and every grant opened below this height is void. Signed by the current owner key or the recovery key."""
    role: Literal["owner", "recovery"] = "recovery" if tx.signer("owner") is None else "owner"
    found = state.compartment(rotation.compartment_id)
    if found is None:
        raise CompartmentUnknown(compartment_id=rotation.compartment_id.hex())
    _require_key(tx, role, found)
    _require_change(role, rotation, found)
    _require_rest(role, found, env)
    digests = rotation.owner_digest, rotation.recovery_digest
    rotated = CompartmentState(*digests, found.version + 1, env.height, found.opened_height, role)
    state.put(key_compartment(rotation.compartment_id), rotated)
    return []


def _require_key(tx: HealthTx, role: str, found: CompartmentState) -> None:
    """The one role that signed (`parse` saw to it) used the key behind the stored digest."""
    expected = found.owner_digest if role == "owner" else found.recovery_digest
    key = tx.signer(role)
    if key is None or owner_digest(key) != expected:
        raise CompartmentWrongKey(role=role, expected=expected.hex())


def _require_change(role: str, rotation: CompartmentRotate, found: CompartmentState) -> None:
    """Something changes, and the owner key changes only itself."""
    if (rotation.owner_digest, rotation.recovery_digest) == (found.owner_digest, found.recovery_digest):
        raise CompartmentUnchanged(compartment_id=rotation.compartment_id.hex())
    if role == "owner" and rotation.recovery_digest != found.recovery_digest:
        raise RecoveryKeyKept(compartment_id=rotation.compartment_id.hex(), expected=found.recovery_digest.hex())


def _require_rest(role: str, found: CompartmentState, env: BlockEnv) -> None:
    """The last rotation is long enough ago; the first one need not wait, nor the recovery key for the owner key."""
    if found.rotated_by is None or (role == "recovery" and found.rotated_by == "owner"):
        return
    allowed = found.grants_valid_from + env.params.rotation_blocks
    if env.height < allowed:
        raise CompartmentRotatedRecently(height=env.height, allowed_height=allowed)
