"""QR codes (ISO/IEC 18004), as far as a card needs them: bytes, error correction level M, versions 1 to 10 (up to 213 bytes).

A code is a square of modules, True for dark. The data is bytes; Reed-Solomon over GF(256) with 0x11D repairs up to 15 %. The mask with
the fewest penalties is taken. `tests/app/test_app_qr.py` compares every module with another implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from hce.foundation.types.errors import TooLarge

EC_PER_BLOCK = (10, 16, 26, 18, 24, 16, 18, 22, 22, 26)
"""Error correction bytes of each block at level M, versions 1 to 10 (table 9 of the standard)."""
BLOCKS = (1, 1, 1, 2, 2, 4, 4, 4, 5, 5)
CODEWORDS = (26, 44, 70, 100, 134, 172, 196, 242, 292, 346)
"""Bytes of a symbol, data and correction together."""
ALIGNED = ((), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34), (6, 22, 38), (6, 24, 42), (6, 26, 46), (6, 28, 50))
FORMAT_M = 0
QUIET_MODULES = 2
QUIET_ON_PAPER = 4
_MASKS = (
    lambda x, y: (x + y) % 2,
    lambda x, y: y % 2,
    lambda x, y: x % 3,
    lambda x, y: (x + y) % 3,
    lambda x, y: (x // 3 + y // 2) % 2,
    lambda x, y: x * y % 2 + x * y % 3,
    lambda x, y: (x * y % 2 + x * y % 3) % 2,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2,
)

Modules = list[list[bool]]


class QrTooLong(TooLarge):
    """More than the largest code here holds."""

    code = "qr.too_long"


def drawn(text: str) -> str:
    """For a terminal with light letters on dark: half blocks, with a quiet margin."""
    square = modules(text)
    size = len(square) + 2 * QUIET_MODULES
    rows = [[False] * size for _ in range(size + size % 2)]
    for y, row in enumerate(square):
        rows[y + QUIET_MODULES][QUIET_MODULES : QUIET_MODULES + len(row)] = row
    blocks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    return "\n".join("".join(blocks[pair] for pair in zip(rows[y], rows[y + 1], strict=True)) for y in range(0, len(rows), 2))


def svg(text: str) -> str:
    """For paper: dark squares on white, with the margin the standard wants."""
    square = modules(text)
    size = len(square) + 2 * QUIET_ON_PAPER
    dark = "".join(
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(square, QUIET_ON_PAPER) for x, one in enumerate(row, QUIET_ON_PAPER) if one
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><path d="{dark}"/></svg>\n'
    )


def modules(text: str, mask: int | None = None) -> Modules:
    """The square, from left to right and top to bottom. Raises `QrTooLong`."""
    data = text.encode()
    version = next((number for number in range(1, 11) if len(data) <= _capacity(number)), None)
    if version is None:
        raise QrTooLong(actual_bytes=len(data), max_bytes=_capacity(10))
    bits = _interleaved(version, _data_codewords(version, data))
    masks = range(len(_MASKS)) if mask is None else (mask,)
    return min((_Symbol(version, bits, one).modules for one in masks), key=_penalty)


def _data_bytes(version: int) -> int:
    return CODEWORDS[version - 1] - EC_PER_BLOCK[version - 1] * BLOCKS[version - 1]


def _length_bits(version: int) -> int:
    return 8 if version < 10 else 16


def _capacity(version: int) -> int:
    return (_data_bytes(version) * 8 - 4 - _length_bits(version)) // 8


def _data_codewords(version: int, data: bytes) -> bytes:
    """Mode, length, bytes, terminator, padding."""
    total = _data_bytes(version) * 8
    bits = f"{0b0100:04b}{len(data):0{_length_bits(version)}b}" + "".join(f"{byte:08b}" for byte in data)
    bits += "0" * min(4, total - len(bits))
    bits += "0" * (-len(bits) % 8)
    packed = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    padding = bytes((0xEC, 0x11)[place % 2] for place in range(_data_bytes(version) - len(packed)))
    return packed + padding


def _interleaved(version: int, data: bytes) -> list[bool]:
    """Blocks side by side, first their data, then their correction; the later blocks may be a byte longer."""
    count, ec = BLOCKS[version - 1], EC_PER_BLOCK[version - 1]
    short, longer = len(data) // count, len(data) % count
    blocks, at = [], 0
    for number in range(count):
        size = short + (number >= count - longer)
        blocks.append(data[at : at + size])
        at += size
    corrections = [_correction(block, ec) for block in blocks]
    ordered = [block[place] for place in range(short + 1) for block in blocks if place < len(block)]
    ordered += [correction[place] for place in range(ec) for correction in corrections]
    return [bool(byte >> bit & 1) for byte in ordered for bit in range(7, -1, -1)]


def _correction(block: bytes, count: int) -> bytes:
    """Remainder of the block times x^count, divided by the generator of that many roots."""
    generator = [1]
    root = 1
    for _ in range(count):
        generator = [left ^ _times(right, root) for left, right in zip([*generator, 0], [0, *generator], strict=True)]
        root = _times(root, 2)
    remainder = [0] * count
    for byte in block:
        factor = byte ^ remainder[0]
        remainder = [one ^ _times(term, factor) for one, term in zip([*remainder[1:], 0], generator[1:], strict=True)]
    return bytes(remainder)


def _times(a: int, b: int) -> int:
    """In GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


class _Symbol:
    """One square with one mask: what is fixed first, then the bits in their zigzag."""

    def __init__(self, version: int, bits: Sequence[bool], mask: int) -> None:
        self.size = 17 + 4 * version
        self.modules: Modules = [[False] * self.size for _ in range(self.size)]
        self._fixed: Modules = [[False] * self.size for _ in range(self.size)]
        self._draw_patterns(version)
        self._draw_format(mask)
        if version >= 7:
            self._draw_version(version)
        for (x, y), dark in zip(self._free(), [*bits, *[False] * 7], strict=False):
            self.modules[y][x] = dark ^ (not _MASKS[mask](x, y))

    def _set(self, x: int, y: int, dark: bool) -> None:
        self.modules[y][x] = dark
        self._fixed[y][x] = True

    def _draw_patterns(self, version: int) -> None:
        for at in range(self.size):
            self._set(6, at, at % 2 == 0)
            self._set(at, 6, at % 2 == 0)
        for left, top in ((3, 3), (self.size - 4, 3), (3, self.size - 4)):
            self._draw_ring(left, top, 4, light=(2, 4))
        places = ALIGNED[version - 1]
        corners = {(6, 6), (6, places[-1]), (places[-1], 6)} if places else set()
        for x in places:
            for y in places:
                if (x, y) not in corners:
                    self._draw_ring(x, y, 2, light=(1,))

    def _draw_ring(self, x: int, y: int, reach: int, light: tuple[int, ...]) -> None:
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                if 0 <= x + dx < self.size and 0 <= y + dy < self.size:
                    self._set(x + dx, y + dy, max(abs(dx), abs(dy)) not in light)

    def _draw_format(self, mask: int) -> None:
        data = FORMAT_M << 3 | mask
        bits = (data << 10 | _remainder(data << 10, 0x537, 10)) ^ 0x5412
        last = self.size - 1
        near = [*((8, at) for at in range(6)), (8, 7), (8, 8), (7, 8), *((14 - at, 8) for at in range(9, 15))]
        far = [*((last - at, 8) for at in range(8)), *((8, self.size - 15 + at) for at in range(8, 15))]
        for places in (near, far):
            for bit, (x, y) in enumerate(places):
                self._set(x, y, bool(bits >> bit & 1))
        self._set(8, self.size - 8, True)

    def _draw_version(self, version: int) -> None:
        bits = version << 12 | _remainder(version << 12, 0x1F25, 12)
        for bit in range(18):
            a, b = self.size - 11 + bit % 3, bit // 3
            self._set(a, b, bool(bits >> bit & 1))
            self._set(b, a, bool(bits >> bit & 1))

    def _free(self) -> Iterator[tuple[int, int]]:
        """From the right, two columns at a time, up and down; the column of timing is passed over."""
        upwards = True
        for right in [*range(self.size - 1, 6, -2), *range(5, 0, -2)]:
            for at in range(self.size):
                y = self.size - 1 - at if upwards else at
                for x in (right, right - 1):
                    if not self._fixed[y][x]:
                        yield x, y
            upwards = not upwards


def _remainder(value: int, generator: int, bits: int) -> int:
    while value.bit_length() > bits:
        value ^= generator << (value.bit_length() - bits - 1)
    return value


def _penalty(square: Modules) -> int:
    """How hard to read: runs, blocks, what looks like a finder, too much of one colour (section 7.8.3)."""
    size = len(square)
    lines = [*square, *map(list, zip(*square, strict=True))]
    runs = sum(max(0, length - 2) for line in lines for length in _runs(line) if length >= 5)
    blocks = 3 * sum(
        square[y][x] == square[y][x + 1] == square[y + 1][x] == square[y + 1][x + 1]
        for y in range(size - 1)
        for x in range(size - 1)
    )
    finders = 40 * sum(_finders(line) for line in lines)
    dark = sum(map(sum, square))
    balance = 10 * (-(-abs(dark * 20 - size * size * 10) // (size * size)) - 1)
    return runs + blocks + finders + balance


def _runs(line: Sequence[bool]) -> list[int]:
    return [len(list(run)) for _, run in groupby(line)]


def _finders(line: Sequence[bool]) -> int:
    """Patterns 1:1:3:1:1 with four light modules on one side; what is beyond the edge is light."""
    text = "0000" + "".join("01"[dark] for dark in line) + "0000"
    return sum(text.startswith(pattern, at) for at in range(len(text)) for pattern in ("10111010000", "00001011101"))
