"""Which compartment a place belongs to, once it is known: that is what makes a rotation void the old owner key here.

    places   address -> digest of (address, compartment id)

An address is made of the owner key of its time, and only the compartment's current key may act as its owner. So a place is bound to its
compartment the first time the owner of the day says so with a signature: in a contact card, a write token, a read, an act, or a grant
under which a receipt is written. The first binding stays. From then on whoever owns the compartment owns the place, whatever key is in
its address; a key that was rotated out owns nothing, even when somebody opens another compartment with it.

What is kept is a digest: a disk alone lists no compartments. Who has the list of all compartments can try them out, and a running node
is told anyway (`docs/cautions.md`).
"""

from __future__ import annotations

from hce.foundation.crypto.hashing import digest
from hce.foundation.store.kv import Reader, WriteTxn
from hce.service.mailbox import streams
from hce.service.mailbox.errors import NotCurrentOwner, PlaceOfOtherCompartment
from hce.service.mailbox.quotas import Bounds
from hce.service.terms.mailbox import Ownership
from hce.service.terms.payloads import owner_digest
from hce.service.terms.states import HealthReader

PLACES = "places"
TABLES = (PLACES,)
_ROW_BYTES = 64


def require_current(health: HealthReader, ownership: Ownership) -> None:
    """The key is the compartment's owner key on the final chain; raises `NotCurrentOwner`."""
    if not is_current(health, ownership.compartment_id, ownership.owner_key):
        raise NotCurrentOwner(compartment_id=ownership.compartment_id.hex())


def is_current(health: HealthReader, compartment_id: bytes, owner_key: bytes) -> bool:
    compartment = health.compartment(compartment_id)
    return compartment is not None and compartment.owner_digest == owner_digest(owner_key)


def require_owned(tables: Reader, address: bytes, place: list[bytes], ownership: Ownership) -> None:
    """The compartment owns the place: it is bound to it, or to none yet and has the owner's own key in its address."""
    if is_bound(tables, address):
        _require_same(tables, address, ownership.compartment_id)
    elif place[1] != ownership.owner_key:
        raise NotCurrentOwner("the place is bound to no compartment here", compartment_id=ownership.compartment_id.hex())


def bind(batch: WriteTxn, address: bytes, compartment_id: bytes, bounds: Bounds) -> None:
    """Bind it for ever, or find it bound to the same. `PlaceOfOtherCompartment`; `AddressFull` when the compartment has too many."""
    if is_bound(batch, address):
        return _require_same(batch, address, compartment_id)
    streams.charge(batch, "places", digest("hce/place-count/1", compartment_id), 1, _ROW_BYTES, bounds)
    batch.put(PLACES, address, _bound_to(address, compartment_id))


def is_bound(tables: Reader, address: bytes) -> bool:
    return tables.get(PLACES, address) is not None


def may_be_of(tables: Reader, address: bytes, compartment_id: bytes) -> bool:
    """Bound to this compartment, or to none yet."""
    return tables.get(PLACES, address) in (None, _bound_to(address, compartment_id))


def _require_same(tables: Reader, address: bytes, compartment_id: bytes) -> None:
    if not may_be_of(tables, address, compartment_id):
        raise PlaceOfOtherCompartment(compartment_id=compartment_id.hex())


def _bound_to(address: bytes, compartment_id: bytes) -> bytes:
    return digest("hce/place/1", address, compartment_id)
