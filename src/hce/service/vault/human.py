"""The sentence a person reads before signing, made from the very bytes that are signed, so that the two cannot differ.

Names of organisations are public and come from the chain; where none is known the id is shown, never an empty place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias, TypeVar

from hce.foundation.codec.dagcbor import convert, decode
from hce.foundation.types.errors import Malformed
from hce.service.terms.claims import Claim
from hce.service.terms.grants import ContactCard, GrantBody, WriteToken
from hce.service.terms.handovers import Handover
from hce.service.terms.mailbox import MailboxAct
from hce.service.terms.transactions import parse_body

S = TypeVar("S")

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
_ROTATE: Mapping[Language, str] = {
    "en": "You replace the keys of your account {subject}. Every grant you gave ends.",
    "zh-CN": "您更换账户 {subject} 的密钥。您给出的所有授权随之终止。",
}
_CARD: Mapping[Language, str] = {
    "en": "You publish your contact card, so that organisations can seal records for you, until {end} (UTC).",
    "zh-CN": "您发布联系卡，让机构可以为您封存记录，有效期至 {end}（UTC）。",
}
_TOKEN: Mapping[Language, str] = {
    "en": "You let {who} write into your records without asking each time, until {end} (UTC).",
    "zh-CN": "您允许{who}在 {end}（UTC）之前直接写入您的记录，无需每次询问。",
}
_CLAIM: Mapping[Language, str] = {
    "en": "You take over the record that {who} keeps for you. From then on its keys are yours alone.",
    "zh-CN": "您接管{who}代您保管的病历。此后其密钥只属于您。",
}
_HANDOVER: Mapping[Language, str] = {
    "en": "You keep the earlier keys of your record under your own, so that what was written before still opens.",
    "zh-CN": "您将病历此前的密钥封存在自己的密钥之下，以便仍能打开以前的内容。",
}
_ACT: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "accept": "You take a waiting entry into your records.",
        "reject": "You reject a waiting entry; its records are erased.",
        "erase": "You erase {count} of your records. Nobody can open them again, you included.",
        "revoke-token": "You no longer let the holder of write permission {number} write without asking.",
        "drop-log": "You delete your log up to item {number}.",
    },
    "zh-CN": {
        "accept": "您将一条等待中的内容收入您的记录。",
        "reject": "您拒绝一条等待中的内容；其中的记录将被删除。",
        "erase": "您删除 {count} 条记录。此后任何人都不能再打开，包括您自己。",
        "revoke-token": "您收回编号 {number} 的直接写入许可。",
        "drop-log": "您删除访问日志中第 {number} 条及之前的内容。",
    },
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


def sentence(signed: bytes, language: Language, name_of: NameOf) -> str:
    """Of anything an owner signs: the body of a transaction or the bytes of `signing_bytes`. Raises `Malformed` for everything else."""
    value = decode(signed)
    domain = value[0] if isinstance(value, list) and value else None
    tell = _SENTENCES.get(domain) if isinstance(domain, str) else None
    if tell is None:
        raise Malformed("nothing an owner signs")
    return tell(signed, language, name_of)


def grant_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    """From the bytes of `grant_message`. Raises `Malformed` when they are anything else."""
    chain, body = _signed(message, "hce/grant/1", GrantBody)
    _require_chain(body.chain, chain)
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


def _transaction_sentence(body_bytes: bytes, language: Language, name_of: NameOf) -> str:
    body = parse_body(body_bytes)
    if body.kind != "compartment.rotate":
        return revoke_sentence(body_bytes, language, name_of)
    return _ROTATE[language].format(subject=_shown(body.payload.compartment_id, name_of))


def _card_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    chain, card = _signed(message, "hce/card/1", ContactCard)
    _require_chain(card.chain, chain)
    return _CARD[language].format(end=_minute(card.expires_ms))


def _token_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    _, token = _signed(message, "hce/token/1", WriteToken)
    return _TOKEN[language].format(who=_shown(token.org_id, name_of), end=_minute(token.expires_ms))


def _claim_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    chain, claim = _signed(message, "hce/claim/1", Claim)
    _require_chain(claim.chain, chain)
    return _CLAIM[language].format(who=_shown(claim.org_id, name_of))


def _handover_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    chain, handover = _signed(message, "hce/handover/1", Handover)
    _require_chain(handover.chain, chain)
    return _HANDOVER[language]


def _act_sentence(message: bytes, language: Language, name_of: NameOf) -> str:
    chain, act = _signed(message, "hce/mailbox-act/1", MailboxAct)
    _require_chain(act.chain, chain)
    template = _ACT[language].get(act.what)
    if template is None:
        raise Malformed("no act of an owner", what=act.what)
    return template.format(number=act.number, count=len(act.records))


_SENTENCES: Mapping[str, Callable[[bytes, Language, NameOf], str]] = {
    "hce/tx/1": _transaction_sentence,
    "hce/grant/1": grant_sentence,
    "hce/card/1": _card_sentence,
    "hce/token/1": _token_sentence,
    "hce/claim/1": _claim_sentence,
    "hce/handover/1": _handover_sentence,
    "hce/mailbox-act/1": _act_sentence,
}


def _signed(message: bytes, domain: str, type_: type[S]) -> tuple[bytes, S]:
    """Chain and body of the bytes of `signing_bytes`."""
    value = decode(message)
    if not isinstance(value, list) or len(value) != 3 or value[0] != domain or not isinstance(value[1], bytes):
        raise Malformed("not what is signed", expected=domain)
    return value[1], convert(type_, value[2])


def _require_chain(actual: bytes, expected: bytes) -> None:
    if actual != expected:
        raise Malformed("of another chain")


def _shown(subject: bytes, name_of: NameOf) -> str:
    """The name with the first digits of the id: two that are called the same stay two. A name cannot break the line."""
    name = "".join(character for character in name_of(subject) or "" if character.isprintable())
    return f"{name} ({subject.hex()[:8]})" if name else subject.hex()


def _minute(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError) as error:
        raise Malformed("a time no calendar has", time_ms=time_ms) from error
