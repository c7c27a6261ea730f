// The sentence a person reads before signing, in Chinese and English. Grants and revocations read as in `src/hce/service/vault/human.py`.
// Names of organisations and people are public and come from the chain; where none is known the id is shown, never an empty place.

import { type Bytes, toHex } from "../bytes.ts";
import { Malformed } from "../errors.ts";
import type { Language } from "../keys/words.ts";
import type { GrantBody } from "../terms/grants.ts";
import type { AnyBody } from "../terms/transactions.ts";
import type { Explained } from "./explain.ts";

/** credential_id, org_id or grant_id -> a name for people, if one is known. */
export type NameOf = (subject: Bytes) => string | null;

/** Of a CID: what it says beside the digest. */
const CID_HEAD_BYTES = 4;

const TEMPLATES = {
  en: {
    grant: "You let {who} {mode} your records dated {date_from} to {date_to}, for {purpose}, from {start} until {end} (UTC).",
    "grant.open":
      "You put a grant on the public chain, from {start} until {end} (UTC). It does not say whose it is or who may read. Paid by {payer}.",
    "grant.revoke": "You end the access of {who}. Nothing new can be opened with it; what was already read cannot be unread.",
    "compartment.rotate": "You replace the keys of your account {subject}. Every grant you gave ends.",
    card: "You publish your contact card, so that organisations can seal records for you, until {end} (UTC).",
    token: "You let {who} write into your records without asking each time, until {end} (UTC).",
    claim: "You take over the record that {who} keeps for you. From then on its keys are yours alone.",
    handover: "You keep the earlier keys of your record under your own, so that what was written before still opens.",
    "act.accept": "You take a waiting entry into your records.",
    "act.reject": "You reject a waiting entry; its records are erased.",
    "act.erase": "You erase {count} of your records. Nobody can open them again, you included.",
    "act.revoke-token": "You no longer let the holder of write permission {number} write without asking.",
    "act.drop-log": "You delete your log up to item {number}.",
    post: "You leave a sealed offer in the inbox of {who}.",
    record: "As {author} you sign {kind} of {date} into the record of {who}. Its sealed content is {content}.",
    "record.kind": { document: "a document", vitals: "a measurement", labs: "a laboratory result" },
    other: "You sign “{kind}”.",
    mode: { read: "read", "read-write": "read and add to" },
    purpose: {
      treatment: "treatment",
      payment: "payment",
      research: "research",
      "second-opinion": "a second opinion",
      "own-use": "your own use",
    },
  },
  "zh-CN": {
    grant: "您允许{who}在 {start} 至 {end}（UTC）期间，为{purpose}{mode}您 {date_from} 至 {date_to} 的记录。",
    "grant.open": "您在公开链上登记一项授权，有效期 {start} 至 {end}（UTC）。链上看不出授权属于谁、给了谁。费用由{payer}支付。",
    "grant.revoke": "您终止{who}的访问权限。此后不能再打开任何记录；已经看过的内容无法收回。",
    "compartment.rotate": "您更换账户 {subject} 的密钥。您给出的所有授权随之终止。",
    card: "您发布联系卡，让机构可以为您封存记录，有效期至 {end}（UTC）。",
    token: "您允许{who}在 {end}（UTC）之前直接写入您的记录，无需每次询问。",
    claim: "您接管{who}代您保管的病历。此后其密钥只属于您。",
    handover: "您将病历此前的密钥封存在自己的密钥之下，以便仍能打开以前的内容。",
    "act.accept": "您将一条等待中的内容收入您的记录。",
    "act.reject": "您拒绝一条等待中的内容；其中的记录将被删除。",
    "act.erase": "您删除 {count} 条记录。此后任何人都不能再打开，包括您自己。",
    "act.revoke-token": "您收回编号 {number} 的直接写入许可。",
    "act.drop-log": "您删除访问日志中第 {number} 条及之前的内容。",
    post: "您在{who}的收件箱中留下一份密封的授权。",
    record: "您以{author}的身份，在{who}的病历中签署一份 {date} 的{kind}。其密封内容编号为 {content}。",
    "record.kind": { document: "文书", vitals: "测量结果", labs: "检验结果" },
    other: "您签署“{kind}”。",
    mode: { read: "查看", "read-write": "查看并补充" },
    purpose: {
      treatment: "诊疗",
      payment: "费用结算",
      research: "研究",
      "second-opinion": "第二诊疗意见",
      "own-use": "本人使用",
    },
  },
} as const;

/** One sentence about what is signed. `malformed` for a time no calendar has. */
export function sentence(explained: Explained, language: Language, nameOf: NameOf): string {
  const words = TEMPLATES[language];
  switch (explained.what) {
    case "grant":
      return filled(words.grant, grantFields(explained.body, language, nameOf));
    case "card":
      return filled(words.card, { end: minute(explained.body.expiresMs) });
    case "token":
      return filled(words.token, { who: shown(explained.body.orgId, nameOf), end: minute(explained.body.expiresMs) });
    case "claim":
      return filled(words.claim, { who: shown(explained.body.orgId, nameOf) });
    case "handover":
      return words.handover;
    case "mailbox-post":
      return filled(words.post, { who: shown(explained.body.orgId, nameOf) });
    case "mailbox-act": {
      const { what, number, records } = explained.body;
      const template = what === "drop" ? words.other : words[`act.${what}`];
      return filled(template, { number: String(number), count: String(records.length), kind: `mailbox-act ${what}` });
    }
    case "mailbox-read":
      return filled(words.other, { kind: `mailbox-read ${explained.body.what}` });
    case "record": {
      const { policy, ciphertext } = explained.body;
      const kinds: Readonly<Record<string, string>> = words["record.kind"];
      const fields = { who: shown(policy.compartmentId, nameOf), author: shown(policy.author, nameOf), date: policy.date };
      const content = toHex(ciphertext.subarray(CID_HEAD_BYTES)).slice(0, 16);
      return filled(words.record, { ...fields, kind: kinds[policy.kind] ?? policy.kind, content });
    }
    case "transaction":
      return ofTransaction(explained.body, language, nameOf);
  }
}

function ofTransaction(body: AnyBody, language: Language, nameOf: NameOf): string {
  const words = TEMPLATES[language];
  switch (body.kind) {
    case "grant.open": {
      const { notBeforeMs, expiresAtMs } = body.payload;
      const payer = body.payer === null ? "" : shown(body.payer, nameOf);
      return filled(words["grant.open"], { start: minute(notBeforeMs), end: minute(expiresAtMs), payer });
    }
    case "grant.revoke":
      return filled(words["grant.revoke"], { who: shown(body.payload.grantId, nameOf) });
    case "compartment.rotate":
      return filled(words["compartment.rotate"], { subject: shown(body.payload.compartmentId, nameOf) });
    default:
      return filled(words.other, { kind: body.kind });
  }
}

function grantFields(body: GrantBody, language: Language, nameOf: NameOf): Record<string, string> {
  const words = TEMPLATES[language];
  return {
    who: shown(body.grantee, nameOf),
    mode: words.mode[body.mode],
    purpose: words.purpose[body.purpose],
    date_from: body.dateFrom,
    date_to: body.dateTo,
    start: minute(body.notBeforeMs),
    end: minute(body.expiresAtMs),
  };
}

/** In one pass, so that a name with braces in it is only a name. */
function filled(template: string, fields: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => fields[name] ?? "");
}

/** The name with the first digits of the id: two that are called the same stay two. A name cannot break or turn the line. */
function shown(subject: Bytes, nameOf: NameOf): string {
  const name = (nameOf(subject) ?? "").replace(/[^\P{C}]|[^\P{Z} ]/gu, "");
  const id = toHex(subject);
  return name ? `${name} (${id.slice(0, 8)})` : id;
}

function minute(timeMs: number): string {
  const time = new Date(timeMs);
  if (Number.isNaN(time.getTime()) || time.getUTCFullYear() > 9999) throw new Malformed("a time no calendar has", { timeMs });
  return time.toISOString().slice(0, 16).replace("T", " ");
}
