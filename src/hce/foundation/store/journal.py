"""The one journal of block execution: uncommitted changes of both chains over a read snapshot.

One journal, not one for each chain: a transaction that fails after it touched both must undo both at the same mark, or money
appears from nothing. Changes live in one dictionary; while a mark is open, every change first notes the value it covers, and a
rollback walks these notes backwards. Committing a mark costs nothing: its notes fall to the mark around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from hce.foundation.types.errors import Bug

HEALTH = "health"
VALUE = "value"
SPACES: Final = (HEALTH, VALUE)
"""The chains a journal covers."""

Reader = Callable[[str, bytes], bytes | None]
"""(space, key) -> value in the snapshot the block starts from, None when absent. Must answer the same while the journal lives."""


class Mark(NamedTuple):
    """A checkpoint. Only the journal that made it understands it."""

    depth: int
    undo_length: int
    serial: int


class _Unset:
    """No change of this key was in the journal."""


_UNSET = _Unset()


class Journal:
    """Read-your-writes over `reader`. Every operation is O(1); a rollback costs what it undoes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._base: dict[str, dict[bytes, bytes | None]] = {space: {} for space in SPACES}
        self._changed: dict[str, dict[bytes, bytes | None]] = {space: {} for space in SPACES}
        self._undo: list[tuple[str, bytes, bytes | _Unset | None]] = []
        self._marks: list[Mark] = []
        self._next_serial = 0

    def get(self, space: str, key: bytes) -> bytes | None:
        """The newest value; None when the key is absent or deleted."""
        changed = self._changed[space]
        return changed[key] if key in changed else self._read_base(space, key)

    def put(self, space: str, key: bytes, value: bytes) -> None:
        self._set(space, key, value)

    def delete(self, space: str, key: bytes) -> None:
        """Deleting an absent key changes nothing."""
        self._set(space, key, None)

    def checkpoint(self) -> Mark:
        """Open a mark inside of the open ones. Each mark ends in exactly one rollback or commit."""
        mark = Mark(len(self._marks), len(self._undo), self._next_serial)
        self._next_serial += 1
        self._marks.append(mark)
        return mark

    def rollback(self, mark: Mark) -> None:
        """Undo everything since the mark, inner marks included."""
        self._check_open(mark)
        while len(self._undo) > mark.undo_length:
            space, key, before = self._undo.pop()
            if isinstance(before, _Unset):
                del self._changed[space][key]
            else:
                self._changed[space][key] = before
        del self._marks[mark.depth :]

    def commit(self, mark: Mark) -> None:
        """Keep everything since the mark; the marks around it can still undo it. Inner marks must have ended before."""
        self._check_open(mark)
        if mark.depth != len(self._marks) - 1:
            raise Bug("a checkpoint inside of the committed one is still open")
        self._marks.pop()
        if not self._marks:
            self._undo.clear()

    def changes(self, space: str) -> dict[bytes, bytes | None]:
        """What differs from the base, sorted by key; None = deleted. A value put back to what it was is no change."""
        changed = self._changed[space]
        return {key: changed[key] for key in sorted(changed) if changed[key] != self._read_base(space, key)}

    def _set(self, space: str, key: bytes, value: bytes | None) -> None:
        changed = self._changed[space]
        if self._marks:
            self._undo.append((space, key, changed.get(key, _UNSET)))
        changed[key] = value

    def _read_base(self, space: str, key: bytes) -> bytes | None:
        base = self._base[space]
        if key not in base:
            base[key] = self._reader(space, key)
        return base[key]

    def _check_open(self, mark: Mark) -> None:
        if mark.depth >= len(self._marks) or self._marks[mark.depth] != mark:
            raise Bug("this checkpoint is not open")
