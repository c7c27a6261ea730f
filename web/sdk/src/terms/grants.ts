// Cards, tokens, grants, access entries and receipts (`docs/formats.md`, sections People and Release).

import type { Bytes } from "../bytes.ts";
import { encode } from "../codec/dagcbor.ts";
import { digest, signingBytes } from "../codec/hashing.ts";
import { anyBytes, encodeAs, integer, list, nullable, type Of, oneOf, struct } from "../codec/shape.ts";
import { listRoot, ListProofShape } from "../proofs/listhash.ts";
import { CapsuleShape, PartialShape } from "../threshold/tdh2.ts";
import { type GrantOpen, grantIdOf } from "./payloads.ts";
import { PolicyBodyShape } from "./records.ts";
import { MAX_NODES } from "./chain.ts";
import { bytes32, chainId, count, digest32, isoDate, nodeIndex, publicKey, sealKey, signature } from "./scalars.ts";

export const MAX_RECORDS_PER_ENTRY = 1_000;
/** Reading epochs one grant can open: all a compartment can have. */
export const MAX_EPOCH_KEYS = 64;
/** Receipts whose place under an anchor one request asks for. */
export const MAX_LEAVES_ASKED = 500;
/** A card is dead after 30 days, so that an author never seals to a key long given up. */
export const CARD_LIFE_MS = 30 * 24 * 3_600_000;
/** How far ahead the clock of the owner's phone may be. */
export const CLOCK_SKEW_MS = 5 * 60_000;

export const PURPOSES = ["treatment", "payment", "research", "second-opinion", "own-use"] as const;
export type Purpose = (typeof PURPOSES)[number];
const purpose = oneOf(...PURPOSES);
export const MODES = ["read", "read-write"] as const;
export type Mode = (typeof MODES)[number];
const mode = oneOf(...MODES);

/** What an author needs to seal for a compartment. */
export const ContactCardShape = struct({
  chain: chainId,
  compartmentId: bytes32,
  version: integer(),
  ownerKey: publicKey,
  readingEpoch: integer(),
  readingKey: sealKey,
  rootKey: sealKey,
  feedReadKey: publicKey,
  issuedMs: count,
  expiresMs: count,
});
export type ContactCard = Of<typeof ContactCardShape>;
export const SignedCardShape = struct({ card: ContactCardShape, signature });
export type SignedCard = Of<typeof SignedCardShape>;

/** Lets an organisation write to a feed without waiting in quarantine. */
export const WriteTokenShape = struct({
  compartmentId: bytes32,
  orgId: bytes32,
  feed: digest32,
  serial: integer(),
  expiresMs: count,
});
export type WriteToken = Of<typeof WriteTokenShape>;
export const SignedTokenShape = struct({ token: WriteTokenShape, ownerKey: publicKey, feedReadKey: publicKey, signature });
export type SignedToken = Of<typeof SignedTokenShape>;

/** What a grantee's gateway asks an owner for. The owner grants this, less, or nothing. */
export const AccessRequestShape = struct({
  chain: chainId,
  /** A credential_id, or an org_id. */
  grantee: bytes32,
  readerKey: publicKey,
  /** Must be the `sealKey` of the grantee's certified organisation. */
  inboxKey: sealKey,
  purpose,
  mode,
  dateFrom: isoDate,
  dateTo: isoDate,
});
export type AccessRequest = Of<typeof AccessRequestShape>;

/** What the owner signs. Travels sealed; only its commitment is public. */
export const GrantBodyShape = struct({
  chain: chainId,
  compartmentId: bytes32,
  compartmentVersion: integer(),
  ownerKey: publicKey,
  logKey: sealKey,
  logReadKey: publicKey,
  grantee: bytes32,
  readerKey: publicKey,
  revokeKey: publicKey,
  notBeforeMs: count,
  expiresAtMs: count,
  dateFrom: isoDate,
  /** Last day included. */
  dateTo: isoDate,
  purpose,
  mode,
  nonce: bytes32,
});
export type GrantBody = Of<typeof GrantBodyShape>;

/** Everything a grantee needs, sealed to the organisation's inbox key. */
export const GrantParcelShape = struct({
  body: GrantBodyShape,
  ownerSignature: signature,
  epochKeys: list(struct({ readingEpoch: integer(), readingSeed: bytes32 }), MAX_EPOCH_KEYS, 1),
  card: SignedCardShape,
});
export type GrantParcel = Of<typeof GrantParcelShape>;

/** What the owner leaves in the grantee's inbox: the transaction it has signed and the sealed parcel. */
export const OfferedGrantShape = struct({ grantTx: anyBytes, parcel: anyBytes });
export type OfferedGrant = Of<typeof OfferedGrantShape>;

/** What an access entry commits to: who reads which records, why, and to which key the answer goes. */
export const AccessBodyShape = struct({
  salt: bytes32,
  recordsRoot: digest32,
  recordsCount: integer(1, MAX_RECORDS_PER_ENTRY),
  grantId: bytes32,
  credentialId: bytes32,
  responseKey: sealKey,
  purpose,
  reasonHash: digest32,
});
export type AccessBody = Of<typeof AccessBodyShape>;

const recordIds = list(bytes32, MAX_RECORDS_PER_ENTRY, 1);

export const ReleaseRequestShape = struct({
  entryId: bytes32,
  access: AccessBodyShape,
  grant: GrantBodyShape,
  ownerSignature: signature,
  /** All record ids of the entry, in its order. */
  entryRecords: recordIds,
  requested: recordIds,
  /** One for each requested record, same order. */
  openings: list(
    struct({ policy: PolicyBodyShape, capsule: CapsuleShape, envelopeRestDigest: digest32 }),
    MAX_RECORDS_PER_ENTRY,
    1,
  ),
  credentialSignature: signature,
  /** Nodes that weigh their parts among each other and prove nothing (`threshold.py`, weighed); null: parts with proofs. */
  together: nullable(list(nodeIndex, MAX_NODES)),
});
export type ReleaseRequest = Of<typeof ReleaseRequestShape>;

export const ReleaseReplyShape = struct({
  node: nodeIndex,
  keyId: bytes32,
  sharingEpoch: integer(),
  partials: list(struct({ recordId: bytes32, partial: PartialShape }), MAX_RECORDS_PER_ENTRY),
  weighed: list(bytes32, MAX_RECORDS_PER_ENTRY),
});
export type ReleaseReply = Of<typeof ReleaseReplyShape>;

/** A node's signed note to the owner: who may have had which records, under which entry. */
export const ReleaseReceiptShape = struct({
  chain: chainId,
  entryId: bytes32,
  access: AccessBodyShape,
  /** All records of the entry, in its order: the node released at most these. */
  records: list(bytes32, MAX_RECORDS_PER_ENTRY),
  node: nodeIndex,
  height: count,
  timeMs: count,
});
export type ReleaseReceipt = Of<typeof ReleaseReceiptShape>;
export const SignedReceiptShape = struct({ receipt: ReleaseReceiptShape, signature });
export type SignedReceipt = Of<typeof SignedReceiptShape>;

/** Where a receipt stands among those its node wrote in one period. */
export const AnchorProofShape = struct({ period: count, proof: ListProofShape });
export type AnchorProof = Of<typeof AnchorProofShape>;

export function cardMessage(card: ContactCard): Bytes {
  return signingBytes("card", card.chain, ContactCardShape.write(card));
}

export function tokenMessage(chain: Bytes, token: WriteToken): Bytes {
  return signingBytes("token", chain, WriteTokenShape.write(token));
}

export function grantMessage(body: GrantBody): Bytes {
  return signingBytes("grant", body.chain, GrantBodyShape.write(body));
}

export function receiptMessage(receipt: ReleaseReceipt): Bytes {
  return signingBytes("receipt", receipt.chain, ReleaseReceiptShape.write(receipt));
}

/** What an anchor's list holds of a receipt. */
export function receiptLeaf(signed: SignedReceipt): Bytes {
  return digest("hce/receipt-leaf/1", SignedReceiptShape.write(signed));
}

/** The body's nonce is its salt. */
export function grantCommitment(body: GrantBody): Bytes {
  return digest("hce/grant-body/1", encodeAs(GrantBodyShape, body));
}

/** What the chain sees of a body. */
export function publicGrant(body: GrantBody): GrantOpen {
  const { readerKey, revokeKey, notBeforeMs, expiresAtMs } = body;
  return { commitment: grantCommitment(body), readerKey, revokeKey, notBeforeMs, expiresAtMs };
}

export function grantIdOfBody(body: GrantBody): Bytes {
  return grantIdOf(body.chain, publicGrant(body));
}

export function accessCommitment(access: AccessBody): Bytes {
  return digest("hce/access-body/1", encodeAs(AccessBodyShape, access));
}

export function recordsRoot(records: readonly Bytes[]): Bytes {
  return listRoot(records);
}

export function reasonHash(reason: string, salt: Bytes): Bytes {
  return digest("hce/reason/1", reason, salt);
}

/** What the individual signs with the credential's own key. */
export function releaseMessage(chain: Bytes, entryId: Bytes, responseKey: Bytes, requested: readonly Bytes[]): Bytes {
  return signingBytes("release", chain, entryId, responseKeyDigest(responseKey), listRoot(requested));
}

export function releaseInfo(chain: Bytes, entryId: Bytes, node: number): Bytes {
  return encode(["hce/release/1", chain, entryId, node]);
}

export function receiptInfo(chain: Bytes): Bytes {
  return encode(["hce/receipt/1", chain]);
}

export function parcelInfo(chain: Bytes): Bytes {
  return encode(["hce/parcel/1", chain]);
}

/** Names statement, member, sharing epoch, entry and recipient: a proof made for one release proves no other. */
export function dleqTranscript(
  chain: Bytes,
  keyId: Bytes,
  sharingEpoch: number,
  node: number,
  entryId: Bytes,
  recordId: Bytes,
  responseKey: Bytes,
): Bytes {
  return encode(["hce/dleq/1", chain, keyId, sharingEpoch, node, entryId, recordId, responseKeyDigest(responseKey)]);
}

export function feedAddress(feedReadKey: Bytes, ownerKey: Bytes): Bytes {
  return digest("hce/feed/1", feedReadKey, ownerKey);
}

export function logAddress(logReadKey: Bytes, ownerKey: Bytes): Bytes {
  return digest("hce/log/1", logReadKey, ownerKey);
}

function responseKeyDigest(responseKey: Bytes): Bytes {
  return digest("hce/response-key/1", responseKey);
}
