// What is about to be signed, decoded from the very bytes that are signed, so that what a person reads and what the key signs cannot
// differ. `explain` takes what a signature covers (a transaction's body, or the bytes of `signingBytes`) and gives a tagged structure;
// `sentence.ts` makes one sentence of it.

import { type Bytes, equal } from "../bytes.ts";
import { decode, type Item } from "../codec/dagcbor.ts";
import type { Of, Shape } from "../codec/shape.ts";
import { Malformed } from "../errors.ts";
import { ClaimShape } from "../terms/claims.ts";
import { HandoverShape } from "../terms/handovers.ts";
import { ContactCardShape, GrantBodyShape, WriteTokenShape } from "../terms/grants.ts";
import { InboxPostShape, MailboxActShape, MailboxReadShape } from "../terms/mailbox.ts";
import { type PolicyBody, PolicyBodyShape } from "../terms/records.ts";
import { type AnyBody, parseBody } from "../terms/transactions.ts";

/** Signed messages that are no transactions, by the word in their domain. */
const MESSAGES = {
  grant: GrantBodyShape,
  card: ContactCardShape,
  token: WriteTokenShape,
  claim: ClaimShape,
  handover: HandoverShape,
  "mailbox-read": MailboxReadShape,
  "mailbox-act": MailboxActShape,
  "mailbox-post": InboxPostShape,
} as const;
type What = keyof typeof MESSAGES;

/** What the author of a record signs: whose it is and what, and the name of its sealed content. */
export interface SignedRecord {
  readonly recordId: Bytes;
  readonly policy: PolicyBody;
  readonly ciphertext: Bytes;
}

/** A decoded transaction, or a decoded message with its body. */
export type Explained =
  | { readonly what: "transaction"; readonly chain: Bytes; readonly body: AnyBody }
  | { readonly what: "record"; readonly chain: Bytes; readonly body: SignedRecord }
  | { [W in What]: { readonly what: W; readonly chain: Bytes; readonly body: Of<(typeof MESSAGES)[W]> } }[What];

/** From the bytes that are signed. `malformed` for anything that is no transaction body and no message a person signs. */
export function explain(signed: Bytes): Explained {
  const value = decode(signed);
  if (!isList(value)) throw new Malformed("nothing a person signs");
  const [domain, chain, body] = value;
  if (domain === "hce/tx/1") {
    const parsed = parseBody(signed);
    return { what: "transaction", chain: parsed.chain, body: parsed };
  }
  if (domain === "hce/record/1") return ofRecord(value);
  const what = whatOf(domain);
  if (what === null || !(chain instanceof Uint8Array) || body === undefined || value.length !== 3) {
    throw new Malformed("nothing a person signs");
  }
  const read = (MESSAGES[what] as Shape<unknown>).read(body, what) as { readonly chain?: Bytes };
  if (read.chain !== undefined && !equal(read.chain, chain)) throw new Malformed("of another chain");
  return { what, chain, body: read } as Explained;
}

function ofRecord(value: readonly Item[]): Explained {
  const [, chain, recordId, policy, ciphertext] = value;
  const read = policy === undefined ? null : PolicyBodyShape.read(policy, "policy");
  const named = chain instanceof Uint8Array && recordId instanceof Uint8Array && ciphertext instanceof Uint8Array;
  if (value.length !== 5 || read === null || !named) throw new Malformed("nothing a person signs");
  if (!equal(read.chain, chain)) throw new Malformed("of another chain");
  return { what: "record", chain, body: { recordId, policy: read, ciphertext } };
}

function whatOf(domain: Item | undefined): What | null {
  const [, word] = typeof domain === "string" ? (/^hce\/([a-z-]+)\/1$/.exec(domain) ?? []) : [];
  return word !== undefined && Object.hasOwn(MESSAGES, word) ? (word as What) : null;
}

function isList(value: Item): value is readonly Item[] {
  return Array.isArray(value);
}
