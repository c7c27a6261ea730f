// Sealing: from the exact bytes a clinician signed to what intake, mailbox and chain take (`src/hce/service/vault/sealing.py`).
//
// The order is forced by what names what. A ciphertext is named by its CID; the placement manifest names ciphertexts; an opening names
// the placement manifest. So `seal` makes everything but the opening, the batch is closed over all ciphertexts, and only then each
// session finishes its openings. One session = one author, one compartment, one visit.

import { type Bytes, compare, concat, equal } from "../bytes.ts";
import { cidOfRaw } from "../codec/cid.ts";
import { checked, encodeAs } from "../codec/shape.ts";
import { Malformed } from "../errors.ts";
import { disperse, makeManifest, readManifest } from "../hcefs/manifest.ts";
import { aeadSeal, pad } from "../keys/aead.ts";
import { type Random, systemRandom } from "../keys/random.ts";
import { seal as sealTo } from "../keys/seal.ts";
import { SecretBytes } from "../keys/secret.ts";
import type { SigningKey } from "../keys/sign.ts";
import type { KeyholderState } from "../terms/chain.ts";
import { type ContactCard, feedAddress } from "../terms/grants.ts";
import { MAX_RECORDS_PER_BATCH, type RecordEntry, recordIdOf } from "../terms/payloads.ts";
import {
  authorMessage,
  capsuleLabel,
  CONTENT_DOMAIN,
  type ContentItem,
  ContentManifestShape,
  digestOfEnvelope,
  type Envelope,
  headerBytes,
  keyCommitment,
  lockAInfo,
  makeHeader,
  MAX_INLINE_BYTES,
  OpeningShape,
  ownerLockInfo,
  ownerWrapDigest,
  type PolicyBody,
  PolicyBodyShape,
  policyCommitment,
  type SessionEntry,
  SessionEntryShape,
} from "../terms/records.ts";
import { encapsulate } from "../threshold/tdh2.ts";
import * as locks from "./locks.ts";

/** The two secrets of a session and the locks that carry them. */
export interface SessionLocks {
  readonly sessionSecret: SecretBytes;
  readonly ownerSecret: SecretBytes;
  readonly lockA: Bytes;
  readonly ownerLock: Bytes;
}

/** A sealed record, all but its opening. Holds no key. */
export interface SealedRecord {
  readonly recordId: Bytes;
  readonly entry: RecordEntry;
  readonly ciphertext: Bytes;
  readonly ciphertextCid: Bytes;
  readonly envelope: Envelope;
  readonly ownerWrap: Bytes;
  readonly policy: PolicyBody;
  readonly authorSignature: Bytes;
}

/** One session's entry and the feed it goes to. */
export interface FeedWrite {
  readonly feed: Bytes;
  /** DAG-CBOR of a SessionEntry. */
  readonly sessionEntry: Bytes;
  readonly recordIds: readonly Bytes[];
}

/** Everything intake, mailbox and `record.commit` need; `records` in the order of the batch. */
export interface Batch {
  readonly records: readonly SealedRecord[];
  readonly placement: Bytes;
  readonly placementCid: Bytes;
  /** What the placement gives each node, in record order. */
  readonly shardsOf: (node: number) => readonly Bytes[];
  readonly feedWrites: readonly FeedWrite[];
}

/** What is to be sealed as one record: up to 64 items about one day. */
export interface Content {
  readonly items: readonly ContentItem[];
  readonly kind: string;
  /** The day the record is about: grants select by it. */
  readonly date: string;
  readonly createdMs: number;
  /** Records this one amends. */
  readonly parents?: readonly Bytes[];
}

/** Who writes, where, under which keyholders' key. The card must come from `verifyCard`, fetched just now. */
export interface Authorship {
  readonly chain: Bytes;
  readonly orgId: Bytes;
  readonly credentialId: Bytes;
  readonly authorKey: SigningKey;
  readonly card: ContactCard;
  readonly keyholders: KeyholderState;
}

export class AuthoringSession {
  readonly by: Authorship;
  readonly #locks: SessionLocks;
  readonly #random: Random;
  #pending: SealedRecord[] = [];

  /** `sessionLocks`: made with `drawLocks` for this card and used by no other session. */
  constructor(by: Authorship, sessionLocks: SessionLocks, random: Random = systemRandom) {
    this.by = by;
    this.#locks = sessionLocks;
    this.#random = random;
  }

  static async begin(by: Authorship, random: Random = systemRandom): Promise<AuthoringSession> {
    return new AuthoringSession(by, await drawLocks(by.card, random), random);
  }

  /** Sealed, not yet finished. */
  get pending(): readonly SealedRecord[] {
    return this.#pending;
  }

  /** One record. `record.too_large`, or `malformed` when a field is out of its bounds. */
  async seal(content: Content): Promise<SealedRecord> {
    const { chain, orgId, authorKey, card, keyholders } = this.by;
    const manifest = checkedManifest(content);
    const nonce = this.#random(locks.SECRET_BYTES);
    const recordId = recordIdOf(chain, orgId, nonce);
    const policy = this.#policy(content);
    const header = makeHeader(chain, recordId, policyCommitment(policy), keyholders.keyId);
    const aad = headerBytes(header);

    const [dek, seedB] = [this.#random(locks.SECRET_BYTES), this.#random(locks.SECRET_BYTES)];
    const ciphertext = await aeadSeal(dek, pad(manifest), aad);
    const ciphertextCid = cidOfRaw(ciphertext);
    const { capsule, shared } = encapsulate(keyholders.publicKey, capsuleLabel(header), seedB);
    const ssA = await locks.shareA(this.#locks.sessionSecret, recordId);
    const wrappingKey = await locks.wrappingKey(ssA, shared, header, this.#locks.lockA, capsule, card.readingEpoch);
    const ownerWrap = await aeadSeal(await locks.ownerWrapKey(this.#locks.ownerSecret, recordId), concat(dek, seedB), aad);
    const wrappedDek = await aeadSeal(wrappingKey, dek, aad);
    const envelope: Envelope = { capsule, wrappedDek, ownerWrapDigest: ownerWrapDigest(ownerWrap) };
    const entry: RecordEntry = {
      nonce,
      envelopeDigest: digestOfEnvelope(envelope),
      keyCommitment: keyCommitment(dek, header),
      policyCommitment: header.policyCommitment,
    };
    const authorSignature = await authorKey.sign(authorMessage(chain, recordId, policy, ciphertextCid));
    const sealed = { recordId, entry, ciphertext, ciphertextCid, envelope, ownerWrap, policy, authorSignature };
    this.#pending.push(sealed);
    return sealed;
  }

  /** Seals the openings of everything pending, which then is pending no more: an opening key is used once. */
  async finish(placement: Bytes): Promise<FeedWrite> {
    const finished = this.#pending;
    this.#pending = [];
    const openings: SessionEntry["openings"][number][] = [];
    for (const record of finished) openings.push({ recordId: record.recordId, sealed: await this.#sealOpening(record, placement) });
    const { lockA, ownerLock } = this.#locks;
    return {
      feed: feedAddress(this.by.card.feedReadKey, this.by.card.ownerKey),
      sessionEntry: encodeAs(SessionEntryShape, { lockA, ownerLock, openings }),
      recordIds: finished.map((record) => record.recordId),
    };
  }

  #policy({ kind, date }: Content): PolicyBody {
    requireDay(date);
    const { chain, card, credentialId } = this.by;
    const { compartmentId, readingEpoch } = card;
    const salt = this.#random(locks.SECRET_BYTES);
    return checked(PolicyBodyShape, { chain, compartmentId, readingEpoch, date, kind, author: credentialId, salt });
  }

  async #sealOpening({ recordId, policy, authorSignature, ciphertextCid }: SealedRecord, placement: Bytes): Promise<Bytes> {
    const opening = encodeAs(OpeningShape, { policy, authorSignature, ciphertext: ciphertextCid, placement });
    return aeadSeal(await locks.openingKey(this.#locks.sessionSecret, recordId), pad(opening), recordId);
  }
}

/** Fresh session secrets, sealed to the card's reading and root keys; `seal.bad_key` when the card's keys are none. */
export async function drawLocks(card: ContactCard, random: Random = systemRandom): Promise<SessionLocks> {
  const [sessionSecret, ownerSecret] = [random(locks.SECRET_BYTES), random(locks.SECRET_BYTES)];
  return {
    lockA: await sealTo(card.readingKey, lockAInfo(card.chain, card.compartmentId, card.readingEpoch), sessionSecret),
    ownerLock: await sealTo(card.rootKey, ownerLockInfo(card.chain, card.compartmentId), ownerSecret),
    sessionSecret: new SecretBytes(sessionSecret),
    ownerSecret: new SecretBytes(ownerSecret),
  };
}

/** Closes a batch over everything pending in these sessions, for a network of `nodes`, and finishes them. `batch.too_large`. */
export async function makeBatch(sessions: readonly AuthoringSession[], nodes: number): Promise<Batch> {
  const [first] = sessions;
  if (first === undefined || sessions.some((session) => session.pending.length === 0)) throw new RangeError("nothing to commit");
  const { chain, orgId } = first.by;
  if (!sessions.every(({ by }) => equal(by.chain, chain) && equal(by.orgId, orgId))) {
    throw new RangeError("a batch is of one chain and one organisation");
  }
  const records = sessions.flatMap((session) => session.pending).sort((left, right) => compare(left.recordId, right.recordId));
  if (records.length > MAX_RECORDS_PER_BATCH) throw new Malformed("", { actual: records.length }, "batch.too_large");
  const dispersed = records.map((record) => disperse(record.ciphertext, nodes));
  const { placement, placementCid } = makeManifest(
    chain,
    dispersed.map(({ placed }) => placed),
    nodes,
  );
  const homes = readManifest(placement, chain).map((placed) => placed.nodes);
  const shardsOf = (node: number): Bytes[] =>
    dispersed.flatMap(({ shards }, i) => shards.filter((_, number) => homes[i]![number] === node));
  const feedWrites: FeedWrite[] = [];
  for (const session of sessions) feedWrites.push(await session.finish(placementCid));
  return { records, placement, placementCid, shardsOf, feedWrites };
}

/** Encoded content that every reader will accept: the bounds are checked before anything is sealed. */
function checkedManifest({ items, kind, createdMs, parents = [] }: Content): Bytes {
  const size = items.reduce((sum, item) => sum + item.content.length, 0);
  if (size > MAX_INLINE_BYTES) throw new Malformed("", { actualBytes: size, maxBytes: MAX_INLINE_BYTES }, "record.too_large");
  return encodeAs(ContentManifestShape, checked(ContentManifestShape, { domain: CONTENT_DOMAIN, kind, items, parents, createdMs }));
}

/** A day that exists: grants compare days as text. */
function requireDay(date: string): void {
  const parsed = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(parsed.getTime()) || parsed.toISOString().slice(0, 10) !== date) {
    throw new Malformed("not a calendar day, YYYY-MM-DD");
  }
}
