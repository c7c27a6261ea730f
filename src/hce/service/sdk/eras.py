"""The feeds of one compartment: reading epochs count on over rotations, and each epoch was written to the keys of its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.handovers import EarlierKeys


class Era(NamedTuple):
    """One feed: the keys it was written to, and its reading epoch."""

    keys: CompartmentKeys
    epoch: int

    @property
    def place(self) -> list[bytes]:
        return [self.keys.feed(self.epoch).public, self.keys.owner.public]


def eras_of(keys: CompartmentKeys, reading_epoch: int, earlier: Sequence[EarlierKeys]) -> list[Era]:
    """By reading epoch, from 0 to the one of now."""
    before = [Era(one.keys, epoch) for one in earlier for epoch in range(one.first_epoch, one.last_epoch + 1)]
    return [*before, *(Era(keys, epoch) for epoch in range(len(before), reading_epoch + 1))]
