"""How much fits a block: the bounds of execution, counted ahead so that a block is full to the last transaction."""

from __future__ import annotations

from collections.abc import Iterable

from hce.foundation.types.blocks import MAX_LISTS_BYTES
from hce.service.contracts.health import steps_of
from hce.service.contracts.value.execute import transfer_steps
from hce.service.contracts.value.transactions import decode_value_tx
from hce.service.ledger.admission import is_health
from hce.service.terms.genesis import Genesis
from hce.service.terms.transactions import parse


class Room:
    """What a block holds so far."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self.health_txs: list[bytes] = []
        self.value_txs: list[bytes] = []
        self.bytes = 0
        self.steps = 0
        self.gas = 0

    @property
    def steps_left(self) -> int:
        return self._genesis.params.block_steps - self.steps

    @property
    def bytes_left(self) -> int:
        return MAX_LISTS_BYTES - self.bytes

    @property
    def gas_left(self) -> int:
        return self._genesis.params.gas_limit - self.gas

    def take(self, raw: bytes, within_bounds: bool = True) -> bool:
        """Whether it fitted. Only bytes bound a block that is not `within_bounds`: one the rules refuse."""
        health = is_health(raw)
        steps, gas = self._steps(raw) if within_bounds else (0, 0)
        if len(raw) > self.bytes_left or steps > self.steps_left or gas > self.gas_left:
            return False
        (self.health_txs if health else self.value_txs).append(raw)
        self.bytes += len(raw)
        self.steps += steps
        self.gas += gas
        return True

    def fill(self, raws: Iterable[bytes], within_bounds: bool = True) -> int:
        """Takes until one does not fit or there are no more; how many it took."""
        taken = 0
        for raw in raws:
            if not self.take(raw, within_bounds):
                break
            taken += 1
        return taken

    def _steps(self, raw: bytes) -> tuple[int, int]:
        """(steps, gas)."""
        if is_health(raw):
            return steps_of(parse(raw, self._genesis.chain), self._genesis.params), 0
        tx = decode_value_tx(raw, self._genesis.eip155_id)
        return transfer_steps(tx), tx.gas_limit
