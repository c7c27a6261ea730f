// A record's terms: policy, header, envelope, opening, and the bytes its author signs (`docs/formats.md`, section Records).

import type { Bytes } from "../bytes.ts";
import { sha256 } from "../codec/cid.ts";
import { encode } from "../codec/dagcbor.ts";
import { digest, signingBytes } from "../codec/hashing.ts";
import { anyBytes, bytes, cid, encodeAs, integer, list, type Of, oneOf, pattern, struct, text } from "../codec/shape.ts";
import { verify } from "../keys/sign.ts";
import { type Capsule, CapsuleShape } from "../threshold/tdh2.ts";
import { MAX_RECORDS_PER_BATCH } from "./payloads.ts";
import { bytes32, chainId, count, digest32, isoDate, signature } from "./scalars.ts";

/** Content up to this size lives inside the manifest. */
export const MAX_INLINE_BYTES = 1 << 20;
const MAX_RESOURCES_PER_RECORD = 64;
const HEADER_DOMAIN = "hce/record-header/1";
export const CONTENT_DOMAIN = "hce/content/1";
/** An X-Wing sealed secret of 32 bytes. */
const sessionLock = bytes(1_168);
const recordKind = pattern(/^[a-z][a-z-]{0,31}$/);

/** Who a record belongs to and what it is; committed on chain. */
export const PolicyBodyShape = struct({
  chain: chainId,
  compartmentId: bytes32,
  readingEpoch: integer(),
  date: isoDate,
  kind: recordKind,
  /** credential_id of the clinician or device that signed. */
  author: bytes32,
  salt: bytes32,
});
export type PolicyBody = Of<typeof PolicyBodyShape>;

/** Ids and commitments only: the associated data of everything sealed for this record. */
export const RecordHeaderShape = struct({
  domain: oneOf(HEADER_DOMAIN),
  chain: chainId,
  recordId: bytes32,
  policyCommitment: digest32,
  keyId: bytes32,
});
export type RecordHeader = Of<typeof RecordHeaderShape>;

/** `content` is exactly the bytes the author signed. */
export const ContentItemShape = struct({ name: text(300), mediaType: text(100), content: anyBytes });
export type ContentItem = Of<typeof ContentItemShape>;

export const ContentManifestShape = struct({
  domain: oneOf(CONTENT_DOMAIN),
  kind: recordKind,
  items: list(ContentItemShape, MAX_RESOURCES_PER_RECORD, 1),
  parents: list(bytes32, 16),
  createdMs: count,
});
export type ContentManifest = Of<typeof ContentManifestShape>;

/** What the mailbox keeps for a record: deletable, so that erasure is real. */
export const EnvelopeShape = struct({ capsule: CapsuleShape, wrappedDek: bytes(48), ownerWrapDigest: digest32 });
export type Envelope = Of<typeof EnvelopeShape>;

/** Travels sealed in the feed; proves to a reader who wrote the record and what it is about. */
export const OpeningShape = struct({ policy: PolicyBodyShape, authorSignature: signature, ciphertext: cid, placement: cid });
export type Opening = Of<typeof OpeningShape>;

/** What one authoring session leaves in a compartment's feed. */
export const SessionEntryShape = struct({
  lockA: sessionLock,
  ownerLock: sessionLock,
  openings: list(struct({ recordId: bytes32, sealed: bytes(0, 1_024) }), MAX_RECORDS_PER_BATCH, 1),
});
export type SessionEntry = Of<typeof SessionEntryShape>;

export function policyCommitment(policy: PolicyBody): Bytes {
  return digest("hce/policy/1", encodeAs(PolicyBodyShape, policy));
}

export function makeHeader(chain: Bytes, recordId: Bytes, policy: Bytes, keyId: Bytes): RecordHeader {
  return { domain: HEADER_DOMAIN, chain, recordId, policyCommitment: policy, keyId };
}

/** The associated data of everything sealed for a record. */
export function headerBytes(header: RecordHeader): Bytes {
  return encodeAs(RecordHeaderShape, header);
}

/** The DEK salts itself: 256 random bits. */
export function keyCommitment(dek: Bytes, header: RecordHeader): Bytes {
  return digest("hce/key/1", dek, headerBytes(header));
}

export function authorMessage(chain: Bytes, recordId: Bytes, policy: PolicyBody, ciphertext: Bytes): Bytes {
  return signingBytes("record", chain, recordId, PolicyBodyShape.write(policy), ciphertext);
}

/** Did this key sign this record's policy and ciphertext? */
export function authorSigned(authorKey: Bytes, recordId: Bytes, opening: Opening): boolean {
  const message = authorMessage(opening.policy.chain, recordId, opening.policy, opening.ciphertext);
  return verify(authorKey, message, opening.authorSignature);
}

/** What lock B of an ordinary record binds to: a capsule copied to another record does not verify there. */
export function capsuleLabel(header: RecordHeader): Bytes {
  return encode(["hce/lock-b/1", "record", header.chain, header.recordId, header.policyCommitment, header.keyId]);
}

export function envelopeRestDigest(envelope: Envelope): Bytes {
  return digest("hce/envelope-rest/1", envelope.wrappedDek, envelope.ownerWrapDigest);
}

/** Of two digests, so that a capsule can be checked without the rest. */
export function digestOfEnvelope(envelope: Envelope): Bytes {
  return digest("hce/envelope/1", digest("hce/capsule/1", CapsuleShape.write(envelope.capsule)), envelopeRestDigest(envelope));
}

export function ownerWrapDigest(ownerWrap: Bytes): Bytes {
  return digest("hce/owner-wrap/1", ownerWrap);
}

export function lockAInfo(chain: Bytes, compartmentId: Bytes, readingEpoch: number): Bytes {
  return encode(["hce/lock-a/1", chain, compartmentId, readingEpoch]);
}

export function ownerLockInfo(chain: Bytes, compartmentId: Bytes): Bytes {
  return encode(["hce/owner-lock/1", chain, compartmentId]);
}

/** Binds the wrapping key to both locks, the header, the key and the epoch. */
export function wrappingInfo(header: RecordHeader, lockA: Bytes, capsule: Capsule, readingEpoch: number): Bytes {
  return digest("hce/wk/1", headerBytes(header), sha256(lockA), CapsuleShape.write(capsule), header.keyId, readingEpoch);
}
