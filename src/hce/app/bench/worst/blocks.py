"""Which blocks are dealt, in which order. Each is made of transactions nobody has seen, upon the state the blocks before it left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count

from msgspec import Struct

from hce.app.bench.worst import transactions as dear
from hce.app.bench.worst.room import Room
from hce.app.bench.worst.transactions import LONGEST_NAME, Cast
from hce.app.devnet.genesis import HCET
from hce.foundation.types.quorum import two_thirds
from hce.service.ledger.headers import health_txs_root, value_txs_root
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS, MAX_RECORDS_PER_BATCH, tank_address
from hce.service.terms.states import MAX_OPEN_VOTES

PER_ROUND = 100_000
"""Numbers of one round, so that no two rounds make the same transaction."""
FAR = 50_000
"""Numbers of a round from which on nothing was ever opened."""
ACCOUNT_AHCE = 100 * HCET
TANK_AHCE = 10_000 * HCET
SLOTS, SLOT_TXS = 3_930, 4
"""Storage keys of a transfer of almost 128 KiB, and how many such transfers a block has gas for."""
SENT_MORE = 10
"""Accounts that are kept for transfers with access lists."""
ADDRESSES = (5_600, 5_600, 1_250)
"""Addresses of access lists: two transfers of almost 128 KiB and what gas is left for."""
MOST_STEPS_OF_BATCH = 204
"""Of one more record, its bytes included: a first guess at how many still fit."""

Fill = Callable[[Room], object]


class Wanted(Struct, frozen=True):
    """One block to deal."""

    name: str
    health_txs: list[bytes]
    value_txs: list[bytes]
    steps: int
    gas: int
    size_bytes: int
    roots: tuple[bytes, bytes] | None
    """Of both lists, where the rules refuse the block."""

    @property
    def valid(self) -> bool:
        return self.roots is None


class Blocks:
    """The blocks of one round. Each must be final before the next is asked for."""

    def __init__(self, cast: Cast, round: int, wallet_nonce: int, height: int) -> None:
        self._cast = cast
        self.height = height
        """Of the chain, about; whoever deals keeps it: anchors depend on it."""
        self._first = 1 + round * PER_ROUND
        self._wallet_nonce = wallet_nonce
        self._accounts = 0
        self._nodes = len(cast.nodes)
        self._approvals = two_thirds(self._nodes)

    def founding(self) -> Wanted:
        """The organisation that pays: its certificate and its tank. Before the first round."""
        votes = (dear.vote(self._cast, 0, voter) for voter in range(self._nodes))
        tank = dear.transfer(self._cast, self._cast.wallet, self._wallet_nonce, tank_address(self._cast.org_id), TANK_AHCE)
        self._wallet_nonce += 1
        return self._wanted("founding", lambda room: room.fill(chain(votes, [tank])))

    def rules_allow(self) -> Iterator[Wanted]:
        """Every kind, each filling a block."""
        yield from self._transfers()
        yield from self._compartments()
        yield from self._credentials()
        yield from self._grants()
        yield from self._votes()
        over = range(self.height)  # with `anchor_blocks` 1, so many periods are over
        yield self._wanted("anchor.post", lambda room: room.fill(dear.anchors(self._cast, over[-ANCHOR_LATE_PERIODS // 2 :])))
        yield from self._records()

    def mixed(self, name: str) -> Iterator[Wanted]:
        """The dearest health kind beside what the gas allows of transfers: every bound of a block reached at once."""
        more = self.repeatable()[name]
        yield self._wanted(f"transfers + {name}", lambda room: (room.fill(self._everybody(again=True)), room.fill(more)))
        yield self._wanted(f"access list addresses + {name}", lambda room: (room.fill(self._addresses(nonce=2)), room.fill(more)))
        yield self._wanted(f"access list slots + {name}", lambda room: (room.fill(self._slots()), room.fill(more)))

    def repeatable(self) -> dict[str, Iterator[bytes]]:
        """Kinds of which there are always more, whatever the state."""
        cast, numbers = self._cast, self._numbers(FAR // 2)
        return {
            "grant.open": dear.grants(cast, numbers),
            "compartment.open": dear.compartments(cast, numbers),
            "credential.issue, longest": dear.credentials(cast, numbers, LONGEST_NAME),
            "access.open of nothing": dear.accesses(cast, self._numbers(FAR + 2_000)),
            "record.commit of 1": (dear.batch(cast, number, 1) for number in numbers),
        }

    def rules_refuse(self) -> Iterator[Wanted]:
        """As many bytes as a proposal may have, of transactions that are right each for itself."""
        cast, numbers = self._cast, self._numbers(FAR + 4_000)
        yield self._wanted("refused: 4 MiB of grants", lambda room: room.fill(dear.grants(cast, numbers), False), False)
        batches = (dear.batch(cast, number, MAX_RECORDS_PER_BATCH) for number in numbers)
        yield self._wanted("refused: 4 MiB of batches", lambda room: room.fill(batches, False), False)
        sender = cast.account(self._first)
        pays = (dear.transfer(cast, sender, nonce, dear.address(cast, "refused", nonce), 1) for nonce in count())
        yield self._wanted("refused: 4 MiB of transfers", lambda room: room.fill(pays, False), False)

    def _wanted(self, name: str, fill: Fill, valid: bool = True) -> Wanted:
        room = Room(self._cast.genesis)
        fill(room)
        roots = None if valid else (health_txs_root(room.health_txs), value_txs_root(room.value_txs))
        return Wanted(name, room.health_txs, room.value_txs, room.steps, room.gas, room.bytes, roots)

    def _numbers(self, start: int = 0) -> range:
        return range(self._first + start, self._first + PER_ROUND)

    def _counted(self, name: str, raws: Iterable[bytes]) -> tuple[Wanted, int]:
        """A block full of these, and how many they are."""
        made = self._wanted(name, lambda room: room.fill(raws))
        return made, len(made.health_txs) + len(made.value_txs)

    # Transfers

    def _transfers(self) -> Iterator[Wanted]:
        cast = self._cast
        wanted, self._accounts = self._counted(
            "transfer, one sender to new accounts",
            (
                dear.transfer(cast, cast.wallet, self._wallet_nonce + place, cast.account(number).address, ACCOUNT_AHCE)
                for place, number in enumerate(self._numbers())
            ),
        )
        yield wanted
        yield self._wanted("transfer, everybody to somebody new", lambda room: room.fill(self._everybody()))
        yield self._wanted("transfer, access list slots", lambda room: room.fill(self._slots(nonce=1)))
        yield self._wanted("transfer, access list addresses", lambda room: room.fill(self._addresses()))

    def _everybody(self, again: bool = False) -> Iterator[bytes]:
        """Each account once. `again`: for the second time, without the few that have sent something else since."""
        nonce = int(again)
        for number in self._numbers()[SENT_MORE if again else 0 : self._accounts]:
            to = dear.address(self._cast, f"somebody new {nonce}", number)
            yield dear.transfer(self._cast, self._cast.account(number), nonce, to, 1)

    def _slots(self, nonce: int = 2) -> Iterator[bytes]:
        for number in self._numbers()[:SLOT_TXS]:
            access = [(dear.address(self._cast, "access", number), [self._cast.secret("slot", slot) for slot in range(SLOTS)])]
            yield self._with(number, nonce, access)

    def _addresses(self, nonce: int = 1) -> Iterator[bytes]:
        for number, size in zip(self._numbers()[SLOT_TXS:], ADDRESSES, strict=False):
            yield self._with(number, nonce, [(dear.address(self._cast, "access", place), []) for place in range(size)])

    def _with(self, number: int, nonce: int, access: list[tuple[bytes, list[bytes]]]) -> bytes:
        to = dear.address(self._cast, "listed", number)
        return dear.transfer(self._cast, self._cast.account(number), nonce, to, 1, access)

    # Health kinds

    def _compartments(self) -> Iterator[Wanted]:
        wanted, opened = self._counted("compartment.open", dear.compartments(self._cast, self._numbers()))
        yield wanted
        yield self._wanted("compartment.rotate", lambda room: room.fill(dear.rotations(self._cast, self._numbers()[:opened])))

    def _credentials(self) -> Iterator[Wanted]:
        cast = self._cast
        wanted, long = self._counted("credential.issue, longest", dear.credentials(cast, self._numbers(), LONGEST_NAME))
        yield wanted
        wanted, short = self._counted("credential.issue, short", dear.credentials(cast, self._numbers(FAR), "A"))
        yield wanted
        revoked = chain(
            dear.revoke_credentials(cast, self._numbers()[:long], LONGEST_NAME),
            dear.revoke_credentials(cast, self._numbers(FAR)[:short], "A"),
        )
        yield self._wanted("credential.revoke", lambda room: room.fill(revoked))

    def _grants(self) -> Iterator[Wanted]:
        cast = self._cast
        wanted, first = self._counted("grant.open", dear.grants(cast, self._numbers()))
        yield wanted
        wanted, second = self._counted("grant.open", dear.grants(cast, self._numbers(first)))
        yield wanted
        again = dear.grants(cast, self._numbers()[:first], later=1)
        yield self._wanted("grant.open, there already", lambda room: room.fill(again))
        yield self._wanted("access.open", lambda room: room.fill(dear.accesses(cast, self._numbers()[:first])))
        one = dear.accesses(cast, self._numbers(first)[:1], times=PER_ROUND)
        yield self._wanted("access.open, one grant", lambda room: room.fill(one))
        yield self._wanted("access.open of nothing", lambda room: room.fill(dear.accesses(cast, self._numbers(FAR))))
        ended = dear.revocations(cast, self._numbers()[: first + second])
        yield self._wanted("grant.revoke", lambda room: room.fill(ended))

    def _votes(self) -> Iterator[Wanted]:
        """First all votes but the last on as many certificates as may be open; then the votes that decide, each of which touches the
        open votes of all nodes; then the same organisations are revoked."""
        cast, before = self._cast, self._approvals - 1
        pending = 0
        if before:
            early = (dear.vote(cast, number, voter) for number in self._numbers()[: MAX_OPEN_VOTES - 4] for voter in range(before))
            wanted, cast_votes = self._counted("organisation.vote, early", early)
            yield wanted
            pending = cast_votes // before
        deciding = (dear.vote(cast, number, before) for number in self._numbers()[:pending])
        whole = (dear.vote(cast, number, voter) for number in self._numbers(pending + 1) for voter in range(before + 1))
        wanted, cast_votes = self._counted("organisation.vote, deciding", chain(deciding, whole))
        yield wanted
        made = [*self._numbers()[:pending], *self._numbers(pending + 1)[: (cast_votes - pending) // self._approvals]]
        revoked = (dear.revoke_organisation(cast, number, voter) for number in made for voter in range(self._approvals))
        yield self._wanted("organisation.revoke", lambda room: room.fill(revoked))
        pages = (dear.vote_portal(cast, number, voter) for number in count(1) for voter in range(self._approvals))
        yield self._wanted("portal.vote", lambda room: room.fill(pages))

    def _records(self) -> Iterator[Wanted]:
        """Last, because the nodes begin to look for envelopes that nobody has."""
        cast, numbers = self._cast, self._numbers()
        singles = (dear.batch(cast, number, 1) for number in numbers)
        yield self._wanted("record.commit of 1", lambda room: room.fill(singles))
        yield self._wanted("record.commit of 600", lambda room: self._fill_batches(room, self._numbers(10_000), None))
        repeated = dear.nonce_of(cast, self._first)
        yield self._wanted(
            "record.commit of 600, last there already", lambda room: self._fill_batches(room, self._numbers(20_000), repeated)
        )

    def _fill_batches(self, room: Room, numbers: range, repeated: bytes | None) -> None:
        """The largest that still fits, again and again."""
        for number in numbers:
            size = min(MAX_RECORDS_PER_BATCH, room.steps_left // MOST_STEPS_OF_BATCH)
            while size > 0 and not room.take(dear.batch(self._cast, number, size, repeated)):
                size -= 4
            if size <= 0:
                return
