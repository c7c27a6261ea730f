"""Strict DAG-CBOR: one value, one byte string.

`libipld` refuses indefinite lengths, unsorted or repeated map keys and foreign tags, but accepts integers that are longer than
needed and floats. So every decode re-encodes and compares, and floats are refused by the types (no field of ours is a float).

A byte string of 36 bytes that is itself a CIDv1 is written as a link (tag 42), every other one as plain bytes. That is what
`libipld` does, and it is part of the format: a second implementation must do the same (`docs/formats.md`, section Encoding).
"""

from __future__ import annotations

from typing import Any, TypeVar

import libipld
import msgspec

from hce.foundation.types.errors import Malformed, TooLarge

T = TypeVar("T")

MAX_ENCODED_BYTES = 16 * 1024 * 1024
"""Upper bound of one encoded value; callers give smaller ones."""


def encode(value: Any) -> bytes:
    """Canonical bytes of builtins or structs. Floats raise TypeError."""
    builtins = msgspec.to_builtins(value, builtin_types=(bytes,))
    _refuse_floats(builtins)
    return bytes(libipld.encode_dag_cbor(builtins))


def decode(raw: bytes, *, max_bytes: int = MAX_ENCODED_BYTES) -> Any:
    """Builtins of canonical bytes; `Malformed` for any other spelling, `TooLarge` beyond max_bytes."""
    if len(raw) > max_bytes:
        raise TooLarge("encoded value", actual_bytes=len(raw), max_bytes=max_bytes)
    try:
        value = libipld.decode_dag_cbor(raw)
        same = libipld.encode_dag_cbor(value) == raw
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Malformed("not DAG-CBOR") from error
    if not same:
        raise Malformed("not canonical DAG-CBOR")
    return value


def decode_as(type_: type[T], raw: bytes, *, max_bytes: int = MAX_ENCODED_BYTES) -> T:
    """Decode into a struct whose bounds then hold; `Malformed` names the field that does not fit."""
    return convert(type_, decode(raw, max_bytes=max_bytes))


def convert(type_: type[T], builtins: Any) -> T:
    """Builtins into a struct; `Malformed` names the field that does not fit."""
    try:
        return msgspec.convert(builtins, type_, builtin_types=(bytes,), strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(str(error)) from error


def _refuse_floats(value: Any) -> None:
    kind = type(value)
    if kind is float:
        raise TypeError("floats are not encoded")
    if kind is list or kind is tuple:
        for item in value:
            _refuse_floats(item)
    elif kind is dict:
        for item in value.values():
            _refuse_floats(item)
