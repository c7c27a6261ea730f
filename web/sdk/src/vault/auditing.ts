// The owner's log: who read what, and whether the log is complete.
//
// Nodes write a receipt before they release; the chain counts access entries per grant and hashes them into one running value. The two
// come from different places, so they check each other: the chain cannot hide an entry from its own counter, and an entry without a
// receipt is a name the owner can ask about. What is proven complete are key releases under the grants that are looked at; what a
// reader does with plaintext he already has, no log can know.

import { type Bytes, compare, equal, toHex } from "../bytes.ts";
import { decodeAs } from "../codec/shape.ts";
import { known } from "../errors.ts";
import type { OpeningKey } from "../keys/seal.ts";
import { verify } from "../keys/sign.ts";
import {
  accessCommitment,
  type GrantBody,
  type Purpose,
  receiptInfo,
  receiptMessage,
  recordsRoot,
  type ReleaseReceipt,
  type SignedReceipt,
  SignedReceiptShape,
} from "../terms/grants.ts";
import { type OwnReadReceipt, ownReadMessage, SignedOwnReadShape } from "../terms/mailbox.ts";
import { entriesHash, entryIdOf } from "../terms/payloads.ts";
import type { EntryState, GrantState, HealthReader } from "../terms/states.ts";
import { requireSameGrant } from "./granting.ts";

/** A receipt of 1,000 records has about 36 KiB. */
const MAX_RECEIPT_BYTES = 128 * 1024;

export type FindingCode =
  | "log.entries_missing"
  | "log.entries_differ"
  | "log.no_receipt"
  | "log.receipt_differs"
  | "log.unknown_entry"
  | "log.more_than_committed"
  | "log.item_unreadable"
  | "log.item_forged"
  | "log.not_anchored"
  | "log.receipt_misdated";

/** Something the owner should ask about. `subject` is a grant id, an entry id, or the position of an item in the log. */
export interface Finding {
  readonly code: FindingCode;
  readonly subject: string;
  readonly detail: string;
}

/** The log as it could be read; junk is named and hides nothing else. */
export interface Log<T> {
  readonly receipts: readonly T[];
  readonly findings: readonly Finding[];
}

/** One of the owner's grants with what the chain proves about it; entries in any order. */
export interface GrantOnChain {
  readonly grantId: Bytes;
  readonly state: GrantState;
  readonly entries: readonly EntryState[];
  /** Null on a device that learned of the grant from the log alone. */
  readonly body: GrantBody | null;
}

/** One explained access: who, for whom, when, which records, why. */
export interface Read {
  readonly entryId: Bytes;
  readonly grantId: Bytes;
  readonly credentialId: Bytes;
  /** Null when the credential is not among the values handed in. */
  readonly orgId: Bytes | null;
  /** The credential's public name; empty when unknown. */
  readonly name: string;
  /** Block time of the access entry. */
  readonly timeMs: number;
  readonly purpose: Purpose;
  /** What the entry committed to: at most these were released. Empty when no receipt names them truly. */
  readonly records: readonly Bytes[];
  /** Which nodes say so. */
  readonly nodes: readonly number[];
}

export interface AuditReport {
  /** Oldest first. */
  readonly reads: readonly Read[];
  readonly findings: readonly Finding[];
  readonly entriesOnChain: number;
  readonly entriesOpened: number;
  /** What was read with the owner key itself, without a grant. */
  readonly ownReads: readonly OwnReadReceipt[];
  /** Every entry the chain counts is explained, and nothing contradicts. */
  readonly complete: boolean;
}

/** Receipts that open with the log key and are signed by the node they name; service keys in node order. */
export async function readReceipts(
  logKey: OpeningKey,
  sealedItems: readonly Bytes[],
  chain: Bytes,
  serviceKeys: readonly Bytes[],
): Promise<Log<SignedReceipt>> {
  const receipts: SignedReceipt[] = [];
  const findings: Finding[] = [];
  for (const [position, sealed] of sealedItems.entries()) {
    try {
      const signed = decodeAs(SignedReceiptShape, await logKey.open(receiptInfo(chain), sealed), MAX_RECEIPT_BYTES);
      const { receipt, signature } = signed;
      const key = serviceKeys[receipt.node];
      const real = equal(receipt.chain, chain) && key !== undefined && verify(key, receiptMessage(receipt), signature);
      if (real) receipts.push(signed);
      else findings.push({ code: "log.item_forged", subject: String(position), detail: `node ${receipt.node}` });
    } catch (error) {
      findings.push({ code: "log.item_unreadable", subject: String(position), detail: known(error).code });
    }
  }
  return { receipts, findings };
}

/** Receipts of the owner's own reading of a feed that are signed by the node they name, oldest first. */
export function readOwnReceipts(
  items: readonly Bytes[],
  chain: Bytes,
  feed: Bytes,
  serviceKeys: readonly Bytes[],
): Log<OwnReadReceipt> {
  const receipts: OwnReadReceipt[] = [];
  const findings: Finding[] = [];
  for (const [position, item] of items.entries()) {
    try {
      const { receipt, signature } = decodeAs(SignedOwnReadShape, item, MAX_RECEIPT_BYTES);
      const ours = equal(receipt.chain, chain) && equal(receipt.feed, feed);
      const key = serviceKeys[receipt.node];
      if (ours && key !== undefined && verify(key, ownReadMessage(receipt), signature)) receipts.push(receipt);
      else findings.push({ code: "log.item_forged", subject: String(position), detail: `node ${receipt.node}` });
    } catch (error) {
      findings.push({ code: "log.item_unreadable", subject: String(position), detail: known(error).code });
    }
  }
  receipts.sort((left, right) => left.day.localeCompare(right.day) || left.node - right.node);
  return { receipts, findings };
}

/**
 * The completeness check, over grants with proven states and the receipts of `readReceipts`. `people` (proven credentials) only fills
 * in names and organisations. `grant.body_differs` for a body that is not the grant's.
 */
export function audit(
  chain: Bytes,
  grants: readonly GrantOnChain[],
  log: Log<SignedReceipt>,
  people: HealthReader,
  own: Log<OwnReadReceipt>,
): AuditReport {
  const findings: Finding[] = [];
  const reads: Read[] = [];
  const explained = new Set<string>();
  for (const grant of grants) {
    if (grant.body !== null) requireSameGrant(grant.body, grant.state);
    findings.push(...checkCounter(chain, grant));
    for (const { name, entry } of namedEntries(chain, grant)) {
      explained.add(toHex(name));
      const receipts = log.receipts.map((signed) => signed.receipt).filter((receipt) => equal(receipt.entryId, name));
      const { read, found } = explain(name, entry, receipts, people);
      findings.push(...found);
      if (read !== null) reads.push(read);
    }
  }
  const unknown = new Set(log.receipts.map((signed) => toHex(signed.receipt.entryId)).filter((name) => !explained.has(name)));
  for (const subject of unknown) findings.push({ code: "log.unknown_entry", subject, detail: "" });
  findings.push(...log.findings, ...own.findings);
  reads.sort((left, right) => left.timeMs - right.timeMs || compare(left.entryId, right.entryId));
  const entriesOnChain = grants.reduce((sum, grant) => sum + grant.state.entries, 0);
  return { reads, findings, entriesOnChain, entriesOpened: reads.length, ownReads: own.receipts, complete: findings.length === 0 };
}

interface Named {
  readonly name: Bytes;
  readonly entry: EntryState;
}

/** In chain order; entries of other grants are left out and so make the counter wrong. */
function namedEntries(chain: Bytes, { grantId, entries }: GrantOnChain): Named[] {
  const ours = entries.filter((entry) => equal(entry.grantId, grantId)).sort((left, right) => left.ordinal - right.ordinal);
  return ours.map((entry) => ({ name: entryIdOf(chain, grantId, entry.commitment), entry }));
}

function checkCounter(chain: Bytes, grant: GrantOnChain): Finding[] {
  const named = namedEntries(chain, grant);
  const subject = toHex(grant.grantId);
  const counted = named.length === grant.state.entries && named.every(({ entry }, i) => entry.ordinal === i);
  if (!counted) return [{ code: "log.entries_missing", subject, detail: `${named.length} of ${grant.state.entries}` }];
  const running = named.reduce<Bytes>((before, { name }) => entriesHash(before, name), new Uint8Array(32));
  return equal(running, grant.state.entriesHash) ? [] : [{ code: "log.entries_differ", subject, detail: "" }];
}

/** What the receipts say about one entry, and what is wrong with them. */
function explain(
  name: Bytes,
  entry: EntryState,
  receipts: readonly ReleaseReceipt[],
  people: HealthReader,
): { read: Read | null; found: Finding[] } {
  const subject = toHex(name);
  const fits = (receipt: ReleaseReceipt): boolean => equal(accessCommitment(receipt.access), entry.commitment);
  const differing = receipts.filter((receipt) => !fits(receipt));
  const found: Finding[] = differing.map(({ node }) => ({ code: "log.receipt_differs", subject, detail: `node ${node}` }));
  const fitting = receipts.filter(fits);
  const [first] = fitting;
  if (first === undefined) return { read: null, found: [...found, { code: "log.no_receipt", subject, detail: "" }] };
  const overstating = fitting.filter((receipt) => !namesTheCommitted(receipt));
  found.push(...overstating.map(({ node }): Finding => ({ code: "log.more_than_committed", subject, detail: `node ${node}` })));
  const { credentialId, purpose } = first.access;
  const credential = people.credential(credentialId);
  const read: Read = {
    entryId: name,
    grantId: entry.grantId,
    credentialId,
    orgId: credential?.body.orgId ?? null,
    name: credential?.body.name ?? "",
    timeMs: entry.timeMs,
    purpose,
    records: fitting.find(namesTheCommitted)?.records ?? [],
    nodes: [...new Set(fitting.map((receipt) => receipt.node))].sort((left, right) => left - right),
  };
  return { read, found };
}

/** Its list is the entry's whole list, in the entry's order: nothing more, nothing else, nothing less. */
function namesTheCommitted({ access, records }: ReleaseReceipt): boolean {
  return records.length === access.recordsCount && equal(recordsRoot(records), access.recordsRoot);
}
