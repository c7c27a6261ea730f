"""The sentence a person reads before signing, made from the very bytes that are signed, so that the two cannot differ.

Names of organisations are public and come from the chain; where none is known the id is shown, never an empty place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from hce.foundation.codec.dagcbor import convert, decode
from hce.foundation.types.errors import Malformed
from hce.service.terms.grants import GrantBody
from hce.service.terms.transactions import parse_body

Language: TypeAlias = Literal["en", "zh-CN"]
NameOf: TypeAlias = Callable[[bytes], str | None]
"""credential_id, org_id or grant_id -> a name for people, if one is known."""

_GRANT: Mapping[Language, str] = {
    "en": "You let {who} {mode} your records dated {date_from} to {date_to}, for {purpose}, from {start} until {end} (UTC).",
    "zh-CN": "您允许{who}在 {start} 至 {end}（UTC）期间，为{purpose}{mode}您 {date_from} 至 {date_to} 的记录。",
}
_REVOKE: Mapping[Language, str] = {
    "en": "You end the access of {who}. Nothing new can be opened with it; what was already read cannot be unread.",
    "zh-CN": "您终止{who}的访问权限。此后不能再打开任何记录；已经看过的内容无法收回。",
}
_MODE: Mapping[Language, Mapping[str, str]] = {
    "en": {"read": "read", "read-write": "read and add to"},
    "zh-CN": {"read": "查看", "read-write": "查看并补充"},
}
_PURPOSE: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "treatment": "treatment",
        "payment": "payment",
        "research": "research",
        "second-opinion": "a second opinion",
        "own-use": "your own use",
    },
    "zh-CN": {
        "treatment": "诊疗",
        "payment": "费用结算",
        "research": "研究",
        "second-opinion": "第二诊疗意见",
        "own-use": "本人使用",
    },
}


def grant_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    """From the bytes of `grant_message`. Raises `Malformed` when they are anything else."""
    value = decode(message)
    if not isinstance(value, list) or len(value) != 3 or value[0] != "hce/grant/1":
        raise Malformed("not a grant to sign")
    body = convert(GrantBody, value[2])
    if body.chain != value[1]:
        raise Malformed("grant of another chain")
    return _GRANT[language].format(
        who=_shown(body.grantee, name_of),
        mode=_MODE[language][body.mode],
        purpose=_PURPOSE[language][body.purpose],
        date_from=body.date_from,
        date_to=body.date_to,
        start=_minute(body.not_before_ms),
        end=_minute(body.expires_at_ms),
    )


def revoke_sentence(body_bytes: bytes, language: Language, name_of: NameOf) -> str:
    """From the body of a `grant.revoke` transaction, whose CID is signed. Raises `Malformed` when it is anything else."""
    body = parse_body(body_bytes)
    if body.kind != "grant.revoke":
        raise Malformed("not a revocation", kind=body.kind)
    return _REVOKE[language].format(who=_shown(body.payload.grant_id, name_of))


def _shown(subject: bytes, name_of: NameOf) -> str:
    """The name with the first digits of the id: two that are called the same stay two. A name cannot break the line."""
    name = "".join(character for character in name_of(subject) or "" if character.isprintable())
    return f"{name} ({subject.hex()[:8]})" if name else subject.hex()


def _minute(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError) as error:
        raise Malformed("a time no calendar has", time_ms=time_ms) from error
