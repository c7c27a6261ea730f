"""Strict DAG-CBOR: one value, one byte string.

`libipld` does the work in Rust and refuses indefinite lengths, unsorted or repeated map keys, foreign tags, NaN and lengths
beyond the input. What it lets through is closed here:

* integers and lengths longer than needed: every decode re-encodes and compares;
* floats, and integers outside 53 bits, which JavaScript would read wrongly: no field of ours is one, so they are refused both ways;
* depth: `libipld` recurses until Python's recursion limit, which some libraries set to 100,000 when imported (`py_ecc`): then 50 KB of
  `81` bytes overflow the C stack and end the process; and where the limit holds, it would split a chain, because it depends on the
  caller. So more than MAX_DEPTH nested lists and maps are refused both ways, and input that could nest dangerously deep is measured
  head by head before `libipld` sees it;
* number: an item of one byte becomes an object of up to 64, so 16 MiB of empty lists would take 1.2 GB and five seconds. A value
  holds at most MAX_ITEMS, counted head by head before `libipld` sees input that is long enough to hold more;
* links. A CID is a byte string to us, and `libipld` writes as a link (tag 42) whatever byte string it can parse as one: CIDv0
  (12 20 and 32 bytes) and CIDv1 of any codec and any hash of up to 64 bytes, even when more bytes follow: one in a thousand
  random ciphertexts. Our rule, part of the format (`docs/formats.md`, section Encoding): **exactly the 36-byte strings that begin
  01 71 12 20 or 01 55 12 20 are links, every other byte string is plain**, and a link to anything else is refused.

A link begins d8 2a, the head of a byte string and 00, one of ours d8 2a 58 25 00 01 (71 or 55) 12 20: so links are checked by looking
for d8 2a in the encoded bytes. Only a value in which something else may be a link is encoded again, piece by piece, at some 0.3 us for
each item beside the odd string.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import libipld
import msgspec
import msgspec.inspect

from hce.foundation.codec.cid import DAG_CBOR, RAW
from hce.foundation.types.errors import Malformed, TooLarge
from hce.foundation.types.scalars import MAX_SAFE_INT

T = TypeVar("T")

MAX_ENCODED_BYTES = 16 * 1024 * 1024
"""Upper bound of one encoded value; callers give smaller ones."""
MAX_DEPTH = 64
"""Lists and maps inside one another, the outermost counted. No format of ours comes near it."""

MAX_ITEMS = 400_000
"""Lists, maps, strings, numbers and links of one value: 26 MB of objects at most. Three times what the fullest block holds."""

SAFE_RECURSION = 1000
"""Nesting that fits every C stack (8 MiB end between 10,000 and 20,000 levels). Input that could nest deeper is measured first."""

_OPENING_HEADS = bytes([*range(0x81, 0x9C), *range(0xA1, 0xBC)])
"""First bytes of lists and maps that hold something."""
_CID_BYTES = 36
_LINK_TAG = b"\xd8\x2a"
_LINK_HEAD = b"\xd8\x2a\x58\x25\x00"
_LINK_STARTS = (_LINK_HEAD + DAG_CBOR, _LINK_HEAD + RAW)
_LINK_START_BYTES = len(_LINK_STARTS[0])
_SEEN: set[Any] = set()
_SEEING = threading.Lock()
_TO_BUILTINS = msgspec.msgpack.Encoder()
_FROM_BUILTINS = msgspec.msgpack.Decoder()
_KEPT_KINDS = (
    msgspec.inspect.AnyType,
    msgspec.inspect.BoolType,
    msgspec.inspect.BytesType,
    msgspec.inspect.IntType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.NoneType,
    msgspec.inspect.StrType,
)
"""What strict conversion hands on as it is. A float could be made of an integer."""
_EXACT: dict[Any, bool] = {}
"""Answers of `is_exact`, by type: as many as the program has types."""


def encode(value: Any) -> bytes:
    """Canonical bytes of builtins or structs. What has no encoding raises TypeError, ValueError or OverflowError."""
    builtins = _builtins(value)
    fault = _fault_of(builtins)
    if fault:
        raise TypeError(fault)
    return _encode(builtins)


def joined(items: Sequence[bytes]) -> bytes:
    """The list whose items have these encodings: what stands in many lists is encoded once."""
    return _head(0x80, len(items)) + b"".join(items)


def _builtins(value: Any) -> Any:
    """As fast as `msgspec.to_builtins`, and makes tuples lists."""
    return _FROM_BUILTINS.decode(_TO_BUILTINS.encode(value))


def decode(raw: bytes, *, max_bytes: int = MAX_ENCODED_BYTES) -> Any:
    """Builtins of canonical bytes; `Malformed` for any other spelling, `TooLarge` beyond max_bytes."""
    value = _loosely(raw, max_bytes)
    if _encode(value) != raw:
        raise Malformed("not canonical DAG-CBOR")
    return value


def decode_as(type_: type[T], raw: bytes, *, max_bytes: int = MAX_ENCODED_BYTES) -> T:
    """Decode into a struct whose bounds then hold; `Malformed` names the field that does not fit.

    What is encoded again and compared is the struct: `msgspec` passes over items behind the last field and fills in defaults, and
    either would give one value several names. A type that can do neither (`is_exact`) holds all that was read, so that is compared.
    """
    return _into(type_, _loosely(raw, max_bytes), raw)


def decode_chosen(choose: Callable[[Any], type[T]], raw: bytes, *, max_bytes: int = MAX_ENCODED_BYTES) -> T:
    """`decode_as`, into the type that `choose` names when it sees the builtins, which may still be anything; what it raises is raised."""
    builtins = _loosely(raw, max_bytes)
    return _into(choose(builtins), builtins, raw)


def _into(type_: type[T], builtins: Any, raw: bytes) -> T:
    value = convert(type_, builtins)
    if _encode(builtins if is_exact(type_) else _builtins(value)) != raw:
        raise Malformed("not the canonical DAG-CBOR of its type")
    return value


def is_exact(type_: Any) -> bool:
    """Whether `convert` to this type keeps everything: all its structs are array-like, forbid unknown fields and have no defaults.

    So whatever it accepts encodes to the bytes of what it was made from, and nothing needs to be encoded again to know it.
    """
    known = _EXACT.get(type_)
    if known is None:
        known = _EXACT[type_] = _keeps_everything(msgspec.inspect.type_info(type_))
    return known


def _keeps_everything(type_: msgspec.inspect.Type) -> bool:
    match type_:
        case msgspec.inspect.StructType():
            whole = type_.array_like and type_.forbid_unknown_fields and type_.tag_field is None
            return whole and all(field.required and _keeps_everything(field.type) for field in type_.fields)
        case msgspec.inspect.ListType():
            return _keeps_everything(type_.item_type)
        case msgspec.inspect.UnionType():
            return all(map(_keeps_everything, type_.types))
        case msgspec.inspect.Metadata():
            return _keeps_everything(type_.type)
    return isinstance(type_, _KEPT_KINDS)


def _loosely(raw: bytes, max_bytes: int) -> Any:
    """What `libipld` reads, with what it should not have let through refused; the spelling is still to be compared."""
    if len(raw) > max_bytes:
        raise TooLarge("encoded value", actual_bytes=len(raw), max_bytes=max_bytes)
    _refuse_bombs(raw)
    try:
        value = libipld.decode_dag_cbor(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed("not DAG-CBOR") from error
    fault = _fault_of(value)
    if fault:
        raise Malformed(fault)
    return value


def convert(type_: type[T], builtins: Any) -> T:
    """Builtins into a struct; `Malformed` names the field that does not fit."""
    if type_ not in _SEEN:
        _see(type_)
    try:
        return msgspec.convert(builtins, type_, builtin_types=(bytes,), strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(str(error)) from error


def _see(type_: Any) -> None:
    """Let `msgspec` look into a type, one at a time: it does so when it first meets one, and another thread that uses the type while it is
    half looked into ends the process.
    """
    with _SEEING:
        with suppress(msgspec.ValidationError):
            msgspec.convert(None, type_)
        _SEEN.add(type_)


def _refuse_bombs(raw: bytes) -> None:
    """Bound recursion and objects of `libipld`. Costs 1 ns a byte of longer inputs, and 0.3 us an item of those that could be either."""
    could_nest = len(raw) > SAFE_RECURSION and len(raw) - len(raw.translate(None, _OPENING_HEADS)) > SAFE_RECURSION
    if len(raw) <= MAX_ITEMS and not could_nest:
        return
    open_items: list[int] = []
    at = items = 0
    while at < len(raw):
        major, low = raw[at] >> 5, raw[at] & 31
        at += 1
        items += 1
        if items > MAX_ITEMS:
            raise TooLarge("items of one value", max_items=MAX_ITEMS)
        size = 1 << low - 24 if 24 <= low < 28 else 0
        count = int.from_bytes(raw[at : at + size], "big") if size else low
        at += size
        if major in (2, 3):
            at += count
        if major == 6:
            continue
        if major in (4, 5) and count:
            open_items.append(count * (major - 3))
            if len(open_items) > MAX_DEPTH:
                raise Malformed(f"nested deeper than {MAX_DEPTH}")
            continue
        while open_items:
            open_items[-1] -= 1
            if open_items[-1]:
                break
            open_items.pop()
        if not open_items:
            return


def _fault_of(value: Any) -> str | None:
    """What is wrong with the shape of a value."""
    return _fault_in((value,), MAX_DEPTH)


def _fault_in(items: Iterable[Any], levels: int) -> str | None:
    """The first fault among items under which so many levels may follow. Every byte of a block passes here: the common kinds first."""
    for item in items:
        kind = type(item)
        if kind is bytes or kind is str:
            continue
        if kind is int:
            if not -MAX_SAFE_INT <= item <= MAX_SAFE_INT:
                return "integer outside 53 bits"
        elif kind is list or kind is dict:
            if not levels:
                return f"nested deeper than {MAX_DEPTH}"
            fault = _fault_in(item if kind is list else item.values(), levels - 1)
            if fault:
                return fault
        elif kind is float:
            return "floats are not encoded"
    return None


def _encode(value: Any) -> bytes:
    """Bytes of checked builtins under our rule for links."""
    encoded: bytes = libipld.encode_dag_cbor(value)
    at = encoded.find(_LINK_TAG)
    while at >= 0:
        if encoded[at : at + _LINK_START_BYTES] not in _LINK_STARTS and _could_be_link(encoded, at):
            return _piece_by_piece(value, encoded)
        at = encoded.find(_LINK_TAG, at + 2)
    return encoded


def _could_be_link(encoded: bytes, at: int) -> bool:
    """Whether a link may begin where d8 2a stands: a byte string follows that begins with 00. Among other bytes one in 2,000 looks so."""
    head = encoded[at + 2] if at + 2 < len(encoded) else 0
    if not 0x40 <= head <= 0x5B:
        return False
    content = at + 3 + (1 << head - 0x58 if head >= 0x58 else 0)
    return content < len(encoded) and encoded[content] == 0


def _piece_by_piece(value: Any, encoded: bytes) -> bytes:
    """The same for a value whose plain encoding may hold a link that is none of ours."""
    if type(value) is bytes:
        return _LINK_HEAD + value if _is_link(value) else _head(0x40, len(value)) + value
    if type(value) is list:
        return _head(0x80, len(value)) + b"".join(map(_encode, value))
    if type(value) is dict:
        keys = sorted((key.encode(), key) for key in value)
        keys.sort(key=lambda pair: len(pair[0]))
        return _head(0xA0, len(value)) + b"".join(_head(0x60, len(raw)) + raw + _encode(value[key]) for raw, key in keys)
    return encoded


def _is_link(value: bytes) -> bool:
    return len(value) == _CID_BYTES and value[:4] in (DAG_CBOR, RAW)


def _head(major: int, count: int) -> bytes:
    """CBOR head: major type and the shortest spelling of a length (RFC 8949, section 3)."""
    if count < 24:
        return bytes([major | count])
    for additional, size in ((24, 1), (25, 2), (26, 4)):
        if count < 1 << 8 * size:
            return bytes([major | additional]) + count.to_bytes(size, "big")
    return bytes([major | 27]) + count.to_bytes(8, "big")
