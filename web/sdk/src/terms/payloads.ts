// Payloads of the health transactions and the ids they make (`docs/formats.md`, section Health transactions).

import type { Bytes } from "../bytes.ts";
import { digest, signingBytes } from "../codec/hashing.ts";
import { bool, cid, integer, list, nullable, type Of, oneOf, pattern, struct, text } from "../codec/shape.ts";
import { listRoot } from "../proofs/listhash.ts";
import { bytes32, count, digest32, nodeIndex, publicKey, sealKey, signature } from "./scalars.ts";

/** Records one `record.commit` may carry. */
export const MAX_RECORDS_PER_BATCH = 600;
/** How many periods after the one that has just ended an anchor is still taken. */
export const ANCHOR_LATE_PERIODS = 144;

const powers = list(oneOf("claims", "emergency", "read", "research", "write"), 5);
const name = text(120, 1);
const reason = text(200);

/** What the super nodes vote on. Public. */
export const OrganisationCertificateShape = struct({
  orgKey: publicKey,
  sealKey,
  name,
  country: pattern(/^[A-Z]{2}$/),
  kind: oneOf("home", "hospital", "insurer", "lab", "pharmacy", "research"),
  powers,
  notBeforeMs: count,
  expiresAtMs: count,
});

/** A clinician or device, certified by an organisation. Public, as medical registers are. */
export const CredentialBodyShape = struct({
  orgId: bytes32,
  personKey: publicKey,
  role: oneOf("clinician", "device"),
  name,
  powers,
  notBeforeMs: count,
  expiresAtMs: count,
});

export const CompartmentOpenShape = struct({ ownerDigest: digest32, recoveryDigest: digest32 });
export type CompartmentOpen = Of<typeof CompartmentOpenShape>;
export const CompartmentRotateShape = struct({ compartmentId: bytes32, ownerDigest: digest32, recoveryDigest: digest32 });

/** One record as the public chain sees it: four commitments. */
export const RecordEntryShape = struct({
  nonce: bytes32,
  envelopeDigest: digest32,
  keyCommitment: digest32,
  policyCommitment: digest32,
});
export type RecordEntry = Of<typeof RecordEntryShape>;

/** A node's word that envelopes (and its shards) of a batch are on its disk. */
export const AvailabilityReceiptShape = struct({ node: nodeIndex, shard: nullable(cid), holdUntil: count, signature });
export type AvailabilityReceipt = Of<typeof AvailabilityReceiptShape>;

/** Public half of a grant: says neither whose compartment nor who may read. */
export const GrantOpenShape = struct({
  commitment: digest32,
  readerKey: publicKey,
  revokeKey: publicKey,
  notBeforeMs: count,
  expiresAtMs: count,
});
export type GrantOpen = Of<typeof GrantOpenShape>;

export const AccessOpenShape = struct({ grantId: bytes32, commitment: digest32 });

/** Kind -> payload. */
export const PAYLOADS = {
  "organisation.vote": struct({ certificate: OrganisationCertificateShape, approve: bool, voter: publicKey }),
  "organisation.revoke": struct({ orgId: bytes32, reason, voter: publicKey }),
  "credential.issue": CredentialBodyShape,
  "credential.revoke": struct({ credentialId: bytes32, reason }),
  "compartment.open": CompartmentOpenShape,
  "compartment.rotate": CompartmentRotateShape,
  "record.commit": struct({
    orgId: bytes32,
    entries: list(RecordEntryShape, MAX_RECORDS_PER_BATCH, 1),
    placement: cid,
    receipts: list(AvailabilityReceiptShape, 32, 1),
  }),
  "grant.open": GrantOpenShape,
  "grant.revoke": struct({ grantId: bytes32 }),
  "access.open": AccessOpenShape,
  "anchor.post": struct({ period: count, count: integer(1), root: digest32, node: publicKey }),
  "portal.vote": struct({
    release: struct({ number: integer(1), bundle: digest32, version: pattern(/^[0-9A-Za-z.+-]{1,32}$/) }),
    voter: publicKey,
  }),
} as const;
export type Kind = keyof typeof PAYLOADS;
export type Payload<K extends Kind> = Of<(typeof PAYLOADS)[K]>;

export function orgIdOf(chain: Bytes, orgKey: Bytes): Bytes {
  return digest("hce/org/1", chain, orgKey);
}

export function credentialIdOf(chain: Bytes, body: Of<typeof CredentialBodyShape>): Bytes {
  return digest("hce/credential/1", chain, CredentialBodyShape.write(body));
}

export function recordIdOf(chain: Bytes, orgId: Bytes, nonce: Bytes): Bytes {
  return digest("hce/record-id/1", chain, orgId, nonce);
}

/** Never the payer, valid_until or signatures: the same public grant has one id for ever. */
export function grantIdOf(chain: Bytes, grant: GrantOpen): Bytes {
  return digest("hce/grant/1", chain, grant.commitment, grant.readerKey, grant.revokeKey, grant.notBeforeMs, grant.expiresAtMs);
}

export function entryIdOf(chain: Bytes, grantId: Bytes, commitment: Bytes): Bytes {
  return digest("hce/entry/1", chain, grantId, commitment);
}

/** Running hash over a grant's entries, in their order; 32 zero bytes before the first. */
export function entriesHash(before: Bytes, entryId: Bytes): Bytes {
  return digest("hce/entries/1", before, entryId);
}

export function envelopesRoot(entries: readonly RecordEntry[]): Bytes {
  return listRoot(entries.map((entry) => entry.envelopeDigest));
}

/** What a node signs when it vouches for a batch. */
export function availabilityMessage(
  chain: Bytes,
  placement: Bytes,
  root: Bytes,
  receipt: Pick<AvailabilityReceipt, "node" | "shard" | "holdUntil">,
  epoch: number,
): Bytes {
  return signingBytes("available", chain, placement, receipt.shard, root, receipt.node, epoch, receipt.holdUntil);
}
