// Words of the mailbox: signed reads and acts, pages, receipts (`docs/formats.md`, section Mailbox).

import type { Bytes } from "../bytes.ts";
import { signingBytes } from "../codec/hashing.ts";
import { anyBytes, bool, bytes, integer, list, nullable, type Of, oneOf, struct } from "../codec/shape.ts";
import { EnvelopeShape } from "./records.ts";
import { bytes32, chainId, count, digest32, isoDate, nodeIndex, publicKey, signature } from "./scalars.ts";

/** Most items or records one read asks for. */
export const MAX_PAGE_ITEMS = 500;
/** An offer: a sealed grant parcel with its transaction, about 10 KiB. */
export const MAX_POST_BYTES = 60 << 10;

const ownerWrap = bytes(80);
const place = list(bytes32, 2, 1);
const records = list(bytes32, MAX_PAGE_ITEMS);
const readKind = oneOf("feed", "envelopes", "owner", "quarantine", "log", "inbox", "own-reads");
export type ReadKind = Of<typeof readKind>;
const actKind = oneOf("accept", "reject", "erase", "revoke-token", "drop", "drop-log");
export type ActKind = Of<typeof actKind>;

/** As whom an owner asks: the compartment and its owner key of today, which signs. */
export const OwnershipShape = struct({ compartmentId: bytes32, ownerKey: publicKey });
export type Ownership = Of<typeof OwnershipShape>;

export const MailboxReadShape = struct({
  chain: chainId,
  node: nodeIndex,
  what: readKind,
  place,
  owner: nullable(OwnershipShape),
  after: count,
  limit: integer(1, MAX_PAGE_ITEMS),
  records,
  timeMs: count,
  nonce: bytes32,
});
export type MailboxRead = Of<typeof MailboxReadShape>;
export const SignedReadShape = struct({ read: MailboxReadShape, signature });

export const MailboxActShape = struct({
  chain: chainId,
  node: nodeIndex,
  what: actKind,
  place,
  owner: nullable(OwnershipShape),
  number: count,
  records,
  timeMs: count,
  nonce: bytes32,
});
export type MailboxAct = Of<typeof MailboxActShape>;
export const SignedActShape = struct({ act: MailboxActShape, signature });

export const InboxPostShape = struct({
  chain: chainId,
  node: nodeIndex,
  orgId: bytes32,
  owner: OwnershipShape,
  data: bytes(0, MAX_POST_BYTES),
  timeMs: count,
  nonce: bytes32,
});
export type InboxPost = Of<typeof InboxPostShape>;
export const SignedPostShape = struct({ post: InboxPostShape, signature });

export const MailPageShape = struct({ items: list(struct({ seq: count, timeMs: count, data: anyBytes })), more: bool });
export type MailItem = Of<typeof MailPageShape>["items"][number];

/** `ownerWrap` only in answers to the owner. */
export const HeldRecordShape = struct({ recordId: bytes32, envelope: EnvelopeShape, ownerWrap: nullable(ownerWrap) });
export type HeldRecord = Of<typeof HeldRecordShape>;
export const RecordsPageShape = struct({ found: list(HeldRecordShape), erased: list(bytes32) });
export type RecordsPage = Of<typeof RecordsPageShape>;

/** A node's word that it can no longer open these envelopes and will not take them again. */
export const DeletionReceiptShape = struct({
  chain: chainId,
  address: digest32,
  records: list(bytes32),
  node: nodeIndex,
  timeMs: count,
});
export const SignedDeletionShape = struct({ receipt: DeletionReceiptShape, signature });
export type SignedDeletion = Of<typeof SignedDeletionShape>;

/** A node's signed note that it gave owner wraps out: for each feed and day, by owner key. */
export const OwnReadReceiptShape = struct({
  chain: chainId,
  feed: digest32,
  day: isoDate,
  by: list(struct({ ownerKey: publicKey, reads: count, records: count })),
  node: nodeIndex,
  timeMs: count,
});
export type OwnReadReceipt = Of<typeof OwnReadReceiptShape>;
export const SignedOwnReadShape = struct({ receipt: OwnReadReceiptShape, signature });

/** Which node answers, signed for the nonce of who asks. */
export const IdentityShape = struct({ node: nodeIndex, signature });
export type Identity = Of<typeof IdentityShape>;

export function readMessage(read: MailboxRead): Bytes {
  return signingBytes("mailbox-read", read.chain, MailboxReadShape.write(read));
}

export function actMessage(act: MailboxAct): Bytes {
  return signingBytes("mailbox-act", act.chain, MailboxActShape.write(act));
}

export function postMessage(post: InboxPost): Bytes {
  return signingBytes("mailbox-post", post.chain, InboxPostShape.write(post));
}

export function ownReadMessage(receipt: OwnReadReceipt): Bytes {
  return signingBytes("own-read", receipt.chain, OwnReadReceiptShape.write(receipt));
}

export function deletionMessage(receipt: Of<typeof DeletionReceiptShape>): Bytes {
  return signingBytes("deletion", receipt.chain, DeletionReceiptShape.write(receipt));
}

export function identityMessage(chain: Bytes, nonce: Bytes, node: number): Bytes {
  return signingBytes("identity", chain, nonce, node);
}
