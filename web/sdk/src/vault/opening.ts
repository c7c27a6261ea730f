// Opening: from a feed entry, an envelope and lock B's half to the exact bytes the author signed, or a named error.
//
// Nothing that came from a node is believed. The chain's `RecordState` (proven by the caller) holds four commitments, and every piece
// is compared with one of them before it is used:
//
//     opening    <- policyCommitment, placement     (`checkRecord`)
//     envelope   <- envelopeDigest                  (`checkRecord`)
//     DEK        <- keyCommitment                   (`unwrapDek`, `openRecord`)
//     ciphertext <- its CID in the opening          (`checkCiphertext`), and the AEAD under the DEK
//     author     <- signature over policy and CID   (`verifyAuthor`), certified at the record's inclusion height

import { type Bytes, equal, toHex } from "../bytes.ts";
import { cidOfRaw } from "../codec/cid.ts";
import { decodeAs } from "../codec/shape.ts";
import { known, Refused } from "../errors.ts";
import { aeadOpen, unpad } from "../keys/aead.ts";
import type { OpeningKey } from "../keys/seal.ts";
import { SecretBytes } from "../keys/secret.ts";
import { requireAuthor } from "../terms/certification.ts";
import type { KeyholderState } from "../terms/chain.ts";
import {
  authorSigned,
  capsuleLabel,
  type ContentManifest,
  ContentManifestShape,
  digestOfEnvelope,
  type Envelope,
  headerBytes,
  keyCommitment,
  lockAInfo,
  makeHeader,
  type Opening,
  OpeningShape,
  ownerLockInfo,
  ownerWrapDigest,
  policyCommitment,
  type RecordHeader,
  type SessionEntry,
  SessionEntryShape,
} from "../terms/records.ts";
import type { CredentialState, HealthReader, RecordState } from "../terms/states.ts";
import { type Capsule, encapsulate } from "../threshold/tdh2.ts";
import * as locks from "./locks.ts";

/** A feed entry opened with a reading key. `broken` names openings that are damaged or lie; they do not hide the others. */
export interface OpenedSession {
  readonly sessionSecret: SecretBytes;
  readonly lockA: Bytes;
  readonly ownerLock: Bytes;
  readonly readingEpoch: number;
  readonly openings: readonly { readonly recordId: Bytes; readonly opening: Opening }[];
  readonly broken: readonly { readonly recordId: Bytes; readonly error: Refused }[];
}

/** What the owner's wrap of one record holds. */
export interface OwnerOpened {
  readonly dek: SecretBytes;
  readonly seedB: SecretBytes;
}

/** Opens lock A and all openings. `malformed`, `record.session_not_ours`. */
export async function readSession(
  readingKey: OpeningKey,
  sessionEntry: Bytes,
  chain: Bytes,
  compartmentId: Bytes,
  epoch: number,
): Promise<OpenedSession> {
  const entry = decodeAs(SessionEntryShape, sessionEntry);
  const sessionSecret = await openLockA(readingKey, entry, chain, compartmentId, epoch);
  const openings: { recordId: Bytes; opening: Opening }[] = [];
  const broken: { recordId: Bytes; error: Refused }[] = [];
  for (const { recordId, sealed } of entry.openings) {
    try {
      openings.push({ recordId, opening: await openOpening(sessionSecret, recordId, sealed, chain, compartmentId, epoch) });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      broken.push({ recordId, error });
    }
  }
  return { sessionSecret, lockA: entry.lockA, ownerLock: entry.ownerLock, readingEpoch: epoch, openings, broken };
}

/** The record's header, when opening and envelope are the committed ones. `record.policy_swapped`, `record.envelope_swapped`. */
export function checkRecord(
  chain: Bytes,
  keyId: Bytes,
  recordId: Bytes,
  state: RecordState,
  opening: Opening,
  envelope: Envelope,
): RecordHeader {
  const policy = policyCommitment(opening.policy);
  if (!equal(policy, state.policyCommitment)) throw refused("record.policy_swapped", recordId, "policy");
  if (!equal(opening.placement, state.placement)) throw refused("record.policy_swapped", recordId, "placement");
  if (!equal(digestOfEnvelope(envelope), state.envelopeDigest)) throw refused("record.envelope_swapped", recordId);
  return makeHeader(chain, recordId, policy, keyId);
}

/** The DEK from both halves; `record.wrong_key` unless it is the one of the key commitment `expected`. */
export async function unwrapDek(
  session: OpenedSession,
  header: RecordHeader,
  envelope: Envelope,
  shareB: Bytes,
  expected: Bytes,
): Promise<SecretBytes> {
  const dek = await unwrap(session, header, envelope.capsule, envelope.wrappedDek, shareB);
  requireCommitted(dek, header, expected);
  return dek;
}

/** `record.tampered` unless these are the bytes the author signed. */
export function checkCiphertext(header: RecordHeader, opening: Opening, ciphertext: Bytes): void {
  if (!equal(cidOfRaw(ciphertext), opening.ciphertext)) throw refused("record.tampered", header.recordId, "another ciphertext");
}

/** The content. `record.wrong_key` (not the DEK of key commitment `expected`), `record.tampered` (anything else). */
export async function openRecord(
  dek: SecretBytes,
  ciphertext: Bytes,
  header: RecordHeader,
  expected: Bytes,
): Promise<ContentManifest> {
  requireCommitted(dek, header, expected);
  try {
    return decodeAs(ContentManifestShape, unpad(await aeadOpen(dek.reveal(), ciphertext, headerBytes(header))));
  } catch (error) {
    throw refused("record.tampered", header.recordId, known(error).code);
  }
}

/** The credential that signed, when it was certified to write at the record's inclusion height, in the committing organisation. */
export function verifyAuthor(opening: Opening, recordId: Bytes, state: RecordState, health: HealthReader): CredentialState {
  if (!equal(policyCommitment(opening.policy), state.policyCommitment)) throw refused("record.policy_swapped", recordId, "policy");
  let credential: CredentialState;
  try {
    credential = requireAuthor(health, opening.policy.author, state);
  } catch (error) {
    throw refused("record.author_not_certified", recordId, known(error).code);
  }
  if (!authorSigned(credential.body.personKey, recordId, opening))
    throw refused("record.author_not_certified", recordId, "signature");
  return credential;
}

/** The owner secret of a session: one for all its records. `record.owner_lock_broken`. */
export async function openOwnerLock(
  rootKey: OpeningKey,
  session: OpenedSession,
  chain: Bytes,
  compartmentId: Bytes,
): Promise<SecretBytes> {
  try {
    return new SecretBytes(await rootKey.open(ownerLockInfo(chain, compartmentId), session.ownerLock));
  } catch (error) {
    throw new Refused("record.owner_lock_broken", known(error).code);
  }
}

/** What the owner holds without asking keyholders. `record.owner_lock_broken`. */
export async function ownerOpen(ownerSecret: SecretBytes, ownerWrap: Bytes, header: RecordHeader): Promise<OwnerOpened> {
  let plain: Bytes;
  try {
    plain = await aeadOpen(await locks.ownerWrapKey(ownerSecret, header.recordId), ownerWrap, headerBytes(header));
  } catch (error) {
    throw refused("record.owner_lock_broken", header.recordId, known(error).code);
  }
  if (plain.length !== 2 * locks.SECRET_BYTES) throw refused("record.owner_lock_broken", header.recordId, "length");
  const [dek, seedB] = [plain.slice(0, locks.SECRET_BYTES), plain.slice(locks.SECRET_BYTES)];
  plain.fill(0);
  return { dek: new SecretBytes(dek), seedB: new SecretBytes(seedB) };
}

/**
 * Grantees will get what the owner has: `record.locks_differ` unless both locks and the owner's wrap hide the committed key. Without
 * this an author could give the owner a key that opens and grantees one that does not, or the reverse.
 */
export async function ownerChecksBothLocks(
  opened: OwnerOpened,
  ownerWrap: Bytes,
  session: OpenedSession,
  header: RecordHeader,
  envelope: Envelope,
  state: RecordState,
  keyholders: KeyholderState,
): Promise<void> {
  const differ = (lock: string): Refused => new Refused("record.locks_differ", "", { recordId: toHex(header.recordId), lock });
  if (!equal(ownerWrapDigest(ownerWrap), envelope.ownerWrapDigest)) throw differ("owner");
  if (!equal(digestOfEnvelope(envelope), state.envelopeDigest)) throw refused("record.envelope_swapped", header.recordId);
  if (!equal(keyCommitment(opened.dek.reveal(), header), state.keyCommitment)) throw differ("owner");
  const { capsule, shared } = encapsulate(keyholders.publicKey, capsuleLabel(header), opened.seedB.reveal());
  if (!equal(header.keyId, keyholders.keyId) || !sameCapsule(capsule, envelope.capsule)) throw differ("B");
  let dek: SecretBytes;
  try {
    dek = await unwrap(session, header, envelope.capsule, envelope.wrappedDek, shared);
  } catch (error) {
    known(error);
    throw differ("A");
  }
  if (!dek.equals(opened.dek)) throw differ("A");
}

async function openLockA(
  readingKey: OpeningKey,
  entry: SessionEntry,
  chain: Bytes,
  compartmentId: Bytes,
  epoch: number,
): Promise<SecretBytes> {
  try {
    return new SecretBytes(await readingKey.open(lockAInfo(chain, compartmentId, epoch), entry.lockA));
  } catch (error) {
    known(error);
    throw new Refused("record.session_not_ours", "", { compartmentId: toHex(compartmentId), epoch });
  }
}

async function openOpening(
  secret: SecretBytes,
  recordId: Bytes,
  sealed: Bytes,
  chain: Bytes,
  compartmentId: Bytes,
  epoch: number,
): Promise<Opening> {
  let opening: Opening;
  try {
    opening = decodeAs(OpeningShape, unpad(await aeadOpen(await locks.openingKey(secret, recordId), sealed, recordId)));
  } catch (error) {
    throw refused("record.opening_invalid", recordId, known(error).code);
  }
  const { policy } = opening;
  const ours = equal(policy.chain, chain) && equal(policy.compartmentId, compartmentId) && policy.readingEpoch === epoch;
  if (!ours) throw refused("record.opening_invalid", recordId, "of another chain, compartment or epoch");
  return opening;
}

async function unwrap(
  session: OpenedSession,
  header: RecordHeader,
  capsule: Capsule,
  wrappedDek: Bytes,
  shareB: Bytes,
): Promise<SecretBytes> {
  const ssA = await locks.shareA(session.sessionSecret, header.recordId);
  const key = await locks.wrappingKey(ssA, shareB, header, session.lockA, capsule, session.readingEpoch);
  try {
    return new SecretBytes(await aeadOpen(key, wrappedDek, headerBytes(header)));
  } catch (error) {
    known(error);
    throw refused("record.wrong_key", header.recordId, "the locks do not open");
  }
}

function requireCommitted(dek: SecretBytes, header: RecordHeader, expected: Bytes): void {
  if (!equal(keyCommitment(dek.reveal(), header), expected)) {
    throw refused("record.wrong_key", header.recordId, "the chain commits to another key");
  }
}

function sameCapsule(left: Capsule, right: Capsule): boolean {
  const fields = ["c", "u", "uBar", "e", "f"] as const;
  return fields.every((field) => equal(left[field], right[field]));
}

function refused(code: string, recordId: Bytes, detail = ""): Refused {
  return new Refused(code, detail, { recordId: toHex(recordId) });
}
