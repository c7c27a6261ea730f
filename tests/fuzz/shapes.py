"""Values of any encoded type, made from its own annotations, and ways to make them wrong. All chance comes from the `Random` handed in."""

from __future__ import annotations

import string
from random import Random
from typing import Any

from msgspec import inspect

from hce.foundation.types.scalars import MAX_SAFE_INT

CID_HEAD = b"\x01\x71\x12\x20"
MOST_ITEMS = 3
"""Of a list without a lower bound: enough for "none", "one" and "several"."""
MOST_BYTES = 80
EDGES = (0, 1, 23, 24, 255, 256, 2**16, 2**31, 2**32, 2**40, MAX_SAFE_INT)
FITTING: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, MAX_SAFE_INT, -MAX_SAFE_INT),
    *(b"", b"\x00", bytes(32), b"\xff" * 32, bytes(64), CID_HEAD + bytes(32), b"\x12\x20" + bytes(32), b"\xd8\x2a"),
    *("", "a", "\x00", "\u202e", "\U0001f600", "2020-02-31", "x" * 300, [], {}, [[]], {"a": 1}, [0] * 70),
)
"""Values that can be encoded and seldom belong where they stand."""
STRANGE = (*FITTING, 2**53, 2**63, 2**64 - 1, 1.5)


def value_of(type_: Any, rng: Random) -> Any:
    """Builtins that fit the type, bounds and all."""
    return _made(inspect.type_info(type_), rng)


def _made(info: inspect.Type, rng: Random) -> Any:
    match info:
        case inspect.StructType():
            return [_made(field.type, rng) for field in info.fields]
        case inspect.ListType() | inspect.CollectionType() | inspect.VarTupleType():
            least = getattr(info, "min_length", None) or 0
            bound = getattr(info, "max_length", None)
            most = MOST_ITEMS if bound is None else min(bound, MOST_ITEMS)
            return [_made(info.item_type, rng) for _ in range(rng.randint(least, max(least, most)))]
        case inspect.TupleType():
            return [_made(item, rng) for item in info.item_types]
        case inspect.DictType():
            return {_text(rng): _made(info.value_type, rng) for _ in range(rng.randint(0, MOST_ITEMS))}
        case inspect.UnionType():
            return _made(rng.choice(info.types), rng)
        case inspect.LiteralType():
            return rng.choice(info.values)
        case inspect.BytesType():
            return _bytes(info.min_length or 0, info.max_length, rng)
        case inspect.IntType():
            return _int(info, rng)
        case inspect.StrType():
            return _pattern(info.pattern, rng) if info.pattern else _text(rng, info.min_length or 0, info.max_length)
        case inspect.BoolType():
            return rng.random() < 0.5
        case inspect.NoneType():
            return None
        case inspect.AnyType() | inspect.RawType():
            return rng.choice([0, b"x" * 32, "text", [bytes(32), 1]])
    raise TypeError(f"no values of {info}")


def _bytes(least: int, most: int | None, rng: Random) -> bytes:
    size = rng.randint(least, min(most if most is not None else MOST_BYTES, least + MOST_BYTES))
    if size == 36:
        return CID_HEAD + rng.randbytes(32)
    return rng.choice([bytes, lambda size: b"\xff" * size, rng.randbytes])(size)


def _int(info: inspect.IntType, rng: Random) -> int:
    least = max(info.ge if info.ge is not None else -MAX_SAFE_INT, -MAX_SAFE_INT)
    most = min(info.le if info.le is not None else MAX_SAFE_INT, MAX_SAFE_INT)
    fitting = [edge for edge in (*EDGES, least, most) if least <= edge <= most]
    return rng.choice([*fitting, rng.randint(int(least), int(most))])


def _text(rng: Random, least: int = 1, most: int | None = None) -> str:
    size = rng.randint(least, min(most if most is not None else 12, least + 12))
    return "".join(rng.choice(string.ascii_lowercase + "é文 ") for _ in range(size))


_PATTERNS = {
    r"\A[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z": ("2020-01-01", "0000-12-31", "9999-02-31"),
    r"\A[A-Z]{2}\Z": ("CN", "ZZ"),
    r"\A[0-9a-f]{64}\Z": ("0" * 64, "ab" * 32),
    r"\A([0-9a-f]{2})*\Z": ("", "00", "ff" * 40),
    r"\A[0-9A-Za-z.+-]{1,32}\Z": ("0.1.0", "1", "Z" * 32),
    r"\A[a-z][a-z-]{0,31}\Z": ("lab", "a", "z" + "-" * 31),
}


def _pattern(pattern: str, rng: Random) -> str:
    return rng.choice(_PATTERNS[pattern])


def spoiled(value: Any, rng: Random) -> Any:
    """The same tree with one thing wrong somewhere."""
    if isinstance(value, list | dict) and value and rng.random() < 0.85:
        copy: Any = value.copy()
        keys = list(range(len(copy))) if isinstance(copy, list) else list(copy)
        at = rng.choice(keys)
        copy[at] = spoiled(copy[at], rng)
        return copy
    if rng.random() < 0.15:
        return rng.choice(STRANGE)
    if isinstance(value, list):
        return _list_spoiled(value, rng)
    if isinstance(value, bytes) and value:
        return rng.choice([rng.randbytes(len(value)), bytes(len(value)), b"\xff" * len(value), bytes_spoiled(value, rng)])
    if type(value) is int:
        return rng.choice([value + 1, value - 1, -value, value * 2, rng.choice(EDGES), value ^ 1 << rng.randint(0, 52)])
    return rng.choice(STRANGE)


def _list_spoiled(value: list[Any], rng: Random) -> list[Any]:
    at = rng.randint(0, len(value))
    some = value[at : at + 1]
    return rng.choice(
        [
            value[:at] + value[at + 1 :],
            value[:at] + some + value[at:],
            [*value[:at], rng.choice(STRANGE), *value[at:]],
            value[::-1],
            value * rng.randint(2, 40),
            [value],
        ]
    )


def bytes_spoiled(raw: bytes, rng: Random) -> bytes:
    """A few bytes changed, taken, doubled or put in."""
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randint(0, len(changed))
        match rng.randint(0, 5):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << rng.randint(0, 7)
            case 1 if changed:
                changed[at % len(changed)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x9B, 0xD8, 0xF6, 0xFB, rng.randint(0, 255)))
            case 2:
                del changed[at : at + rng.choice((1, 1, 4, 40))]
            case 3:
                changed[at:at] = rng.randbytes(rng.choice((1, 1, 4, 40)))
            case 4:
                changed[at:at] = changed[at : at + rng.choice((1, 8, 64))]
            case _:
                del changed[at:]
    return bytes(changed)
