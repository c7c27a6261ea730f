// Granting and asking: what the owner's device signs, what a grantee does with it, and how released parts become keys.
//
// grantee   AccessRequest ------------------------------------> owner
// owner     checkRequest, makeGrant: body, signature, parcel -> grantee (the public half goes on chain)
// grantee   openParcel, makeAccess ---------------------------> access entry on chain
// grantee   makeReleaseRequest -------------------------------> every keyholder
// keyholder ReleaseReply, sealed to the response key ---------> grantee
// grantee   openReleaseReply, combineRelease: the DEKs

import { type Bytes, equal, toHex } from "../bytes.ts";
import { checked, decodeAs, encodeAs } from "../codec/shape.ts";
import { HceError, known, PeerFault, Refused, Unavailable } from "../errors.ts";
import { type CompartmentKeys, feedKeyOf, readingKeyOf } from "../keys/compartments.ts";
import { type Random, systemRandom } from "../keys/random.ts";
import { OpeningKey, seal as sealTo } from "../keys/seal.ts";
import { SecretBytes } from "../keys/secret.ts";
import { type SigningKey, verify } from "../keys/sign.ts";
import { requireCredential, requireOrganisation } from "../terms/certification.ts";
import type { KeyholderState } from "../terms/chain.ts";
import {
  type AccessBody,
  accessCommitment,
  type AccessRequest,
  cardMessage,
  dleqTranscript,
  type GrantBody,
  grantIdOfBody,
  grantMessage,
  type GrantParcel,
  GrantParcelShape,
  MAX_RECORDS_PER_ENTRY,
  type Mode,
  parcelInfo,
  publicGrant,
  type Purpose,
  reasonHash,
  recordsRoot,
  releaseInfo,
  releaseMessage,
  type ReleaseReply,
  ReleaseReplyShape,
  type ReleaseRequest,
  type SignedCard,
} from "../terms/grants.ts";
import { entryIdOf, type GrantOpen } from "../terms/payloads.ts";
import { type Envelope, envelopeRestDigest, type Opening, type RecordHeader } from "../terms/records.ts";
import type { HealthReader } from "../terms/states.ts";
import { combine, type Part, verifyPartial } from "../threshold/tdh2.ts";
import { SECRET_BYTES } from "./locks.ts";
import { type OpenedSession, unwrapDek } from "./opening.ts";

const MAX_PARCEL_BYTES = 16 * 1024;
const MAX_REPLY_BYTES = 512 * 1024;

/** A grant as the owner's device made it. The parcel goes to the grantee's inbox, `public` on chain. */
export interface MadeGrant {
  readonly grantId: Bytes;
  readonly body: GrantBody;
  readonly ownerSignature: Bytes;
  readonly public: GrantOpen;
  /** Sealed `GrantParcel`. */
  readonly parcel: Bytes;
  /** Signs `grant.open` now and `grant.revoke` later. */
  readonly revokeKey: SigningKey;
}

/** What the owner chooses when answering a request. */
export interface GrantTerms {
  readonly notBeforeMs: number;
  readonly expiresAtMs: number;
  readonly dateFrom: string;
  readonly dateTo: string;
  readonly purpose: Purpose;
  readonly mode: Mode;
}

/** An access entry before it is on chain, with the key the answers will be sealed to. */
export interface PreparedAccess {
  readonly entryId: Bytes;
  readonly access: AccessBody;
  readonly commitment: Bytes;
  readonly records: readonly Bytes[];
  readonly responseKey: OpeningKey;
}

/** One record that is to be opened: checked by `checkRecord`, its session read. */
export interface LockedRecord {
  readonly header: RecordHeader;
  readonly envelope: Envelope;
  readonly session: OpenedSession;
  readonly keyCommitment: Bytes;
}

/** What came of the replies, by record id in hex. A record is in `deks` or in `failed`. */
export interface Combined {
  readonly deks: ReadonlyMap<string, SecretBytes>;
  readonly failed: ReadonlyMap<string, HceError>;
  /** Nodes whose part is provably not their share's. */
  readonly lying: readonly number[];
}

/** org_id of a request whose grantee may read and whose inbox key is the certified one. `request.invalid`. */
export function checkRequest(request: AccessRequest, chain: Bytes, health: HealthReader, height: number, nowMs: number): Bytes {
  const refuse = (detail: string): Refused => new Refused("request.invalid", detail, { grantee: toHex(request.grantee) });
  if (!equal(request.chain, chain)) throw refuse("another chain");
  let certified: ReturnType<typeof requireOrganisation>;
  let orgId = request.grantee;
  try {
    if (health.credential(request.grantee) !== null) {
      orgId = requireCredential(health, request.grantee, "read", height, nowMs).body.orgId;
    }
    certified = requireOrganisation(health, orgId, "read", height, nowMs);
  } catch (error) {
    throw refuse(known(error).code);
  }
  if (!equal(certified.certificate.sealKey, request.inboxKey)) throw refuse("the inbox key is not the certified one");
  return orgId;
}

/**
 * A signed grant and its parcel, with the reading seeds of all epochs in their order. The request must have passed `checkRequest`.
 * `grant.invalid`, `malformed`.
 */
export async function makeGrant(
  keys: CompartmentKeys,
  chain: Bytes,
  compartmentVersion: number,
  request: AccessRequest,
  terms: GrantTerms,
  epochKeys: GrantParcel["epochKeys"],
  card: SignedCard,
  nonce: Bytes,
): Promise<MadeGrant> {
  const { notBeforeMs, expiresAtMs, dateFrom, dateTo, purpose, mode } = terms;
  const revokeKey = await keys.revoke(nonce);
  const body: GrantBody = {
    chain,
    compartmentId: keys.compartmentId(chain),
    compartmentVersion,
    ownerKey: keys.owner.public,
    logKey: (await keys.log()).public,
    logReadKey: (await keys.logRead()).public,
    grantee: request.grantee,
    readerKey: request.readerKey,
    revokeKey: revokeKey.public,
    notBeforeMs,
    expiresAtMs,
    dateFrom,
    dateTo,
    purpose,
    mode,
    nonce,
  };
  requireWindow(body);
  const ownerSignature = await keys.owner.sign(grantMessage(body));
  const parcel = checked(GrantParcelShape, { body, ownerSignature, epochKeys, card });
  await checkParcel(parcel, chain);
  const sealed = await sealTo(request.inboxKey, parcelInfo(chain), encodeAs(GrantParcelShape, parcel));
  return { grantId: grantIdOfBody(body), body, ownerSignature, public: publicGrant(body), parcel: sealed, revokeKey };
}

/**
 * A parcel for one of our reader keys whose owner signed it. `grant.parcel_not_ours`, `grant.invalid`, `malformed`. Whether the grant
 * stands on chain is `requireSameGrant`; whether its owner key is the current one, the caller asks the chain.
 */
export async function openParcel(
  inboxKey: OpeningKey,
  sealed: Bytes,
  chain: Bytes,
  readerKeys: readonly Bytes[],
): Promise<GrantParcel> {
  let plain: Bytes;
  try {
    plain = await inboxKey.open(parcelInfo(chain), sealed);
  } catch (error) {
    known(error);
    throw new Refused("grant.parcel_not_ours", "does not open");
  }
  const parcel = decodeAs(GrantParcelShape, plain, MAX_PARCEL_BYTES);
  if (!readerKeys.some((key) => equal(key, parcel.body.readerKey)))
    throw new Refused("grant.parcel_not_ours", "another reader key");
  requireWindow(parcel.body);
  await checkParcel(parcel, chain);
  return parcel;
}

/** `grant.body_differs` unless the public fields (on chain, or about to be) are this body's. */
export function requireSameGrant(body: GrantBody, onChain: GrantOpen): void {
  const expected = publicGrant(body);
  const same =
    equal(expected.commitment, onChain.commitment) &&
    equal(expected.readerKey, onChain.readerKey) &&
    equal(expected.revokeKey, onChain.revokeKey) &&
    expected.notBeforeMs === onChain.notBeforeMs &&
    expected.expiresAtMs === onChain.expiresAtMs;
  if (!same) throw new Refused("grant.body_differs", "", { grantId: toHex(grantIdOfBody(body)) });
}

/** The access entry of one read; it goes on chain as `access.open` before anybody is asked. `access.invalid`. */
export function makeAccess(
  body: GrantBody,
  credentialId: Bytes,
  records: readonly Bytes[],
  reason: string,
  random: Random = systemRandom,
): PreparedAccess {
  const different = new Set(records.map(toHex)).size;
  if (records.length < 1 || records.length > MAX_RECORDS_PER_ENTRY || different !== records.length) {
    throw new Refused("access.invalid", "one to 1,000 different records", { actual: records.length });
  }
  const grantId = grantIdOfBody(body);
  const salt = random(SECRET_BYTES);
  const responseKey = new OpeningKey(new SecretBytes(random(SECRET_BYTES)));
  const access: AccessBody = {
    salt,
    recordsRoot: recordsRoot(records),
    recordsCount: records.length,
    grantId,
    credentialId,
    responseKey: responseKey.public,
    purpose: body.purpose,
    reasonHash: reasonHash(reason, salt),
  };
  const commitment = accessCommitment(access);
  return { entryId: entryIdOf(body.chain, grantId, commitment), access, commitment, records, responseKey };
}

/** What every keyholder is asked: `wanted` is some or all of the entry's records, in its order. `access.invalid`. */
export async function makeReleaseRequest(
  prepared: PreparedAccess,
  body: GrantBody,
  ownerSignature: Bytes,
  wanted: readonly { readonly recordId: Bytes; readonly opening: Opening; readonly envelope: Envelope }[],
  credentialKey: SigningKey,
): Promise<ReleaseRequest> {
  const byId = new Map(wanted.map((one) => [toHex(one.recordId), one]));
  const chosen = prepared.records.flatMap((record) => byId.get(toHex(record)) ?? []);
  if (chosen.length === 0 || chosen.length !== wanted.length) {
    throw new Refused("access.invalid", "the entry does not name these records", { actual: wanted.length });
  }
  const requested = chosen.map((one) => one.recordId);
  return {
    entryId: prepared.entryId,
    access: prepared.access,
    grant: body,
    ownerSignature,
    entryRecords: prepared.records,
    requested,
    openings: chosen.map(({ opening, envelope }) => ({
      policy: opening.policy,
      capsule: envelope.capsule,
      envelopeRestDigest: envelopeRestDigest(envelope),
    })),
    credentialSignature: await credentialKey.sign(
      releaseMessage(body.chain, prepared.entryId, prepared.access.responseKey, requested),
    ),
    together: null,
  };
}

/** A node's reply. `release.bad_reply` when it does not open or speaks for another node. */
export async function openReleaseReply(prepared: PreparedAccess, chain: Bytes, sealed: Bytes, node: number): Promise<ReleaseReply> {
  let reply: ReleaseReply;
  try {
    const plain = await prepared.responseKey.open(releaseInfo(chain, prepared.entryId, node), sealed);
    reply = decodeAs(ReleaseReplyShape, plain, MAX_REPLY_BYTES);
  } catch (error) {
    throw new PeerFault("release.bad_reply", known(error).code, { node });
  }
  if (reply.node !== node || reply.partials.some(({ partial }) => partial.index !== node)) {
    throw new PeerFault("release.bad_reply", "speaks for another node", { node, actual: reply.node });
  }
  return reply;
}

/**
 * The DEK of every record that enough honest nodes released.
 *
 * Optimistic: the first `threshold` parts are combined unchecked, and the key commitment tells whether they were right. Only when it
 * does not fit are proofs checked: liars are named, their parts left out and honest ones combined. Who lied about one record comes last
 * for the others, and is not left out: with just enough nodes alive their honest parts are needed. Replies of another key or sharing
 * epoch are not used: parts of two sharings never mix.
 */
export async function combineRelease(
  replies: readonly ReleaseReply[],
  records: readonly LockedRecord[],
  keyholders: KeyholderState,
  prepared: PreparedAccess,
): Promise<Combined> {
  const current = replies.filter((one) => equal(one.keyId, keyholders.keyId) && one.sharingEpoch === keyholders.sharingEpoch);
  const lying = new Set<number>();
  const deks = new Map<string, SecretBytes>();
  const failed = new Map<string, HceError>();
  for (const record of records) {
    const name = toHex(record.header.recordId);
    try {
      deks.set(name, await combineOne(record, partsOf(current, record.header.recordId, lying), keyholders, prepared, lying));
    } catch (error) {
      failed.set(name, known(error));
    }
  }
  return { deks, failed, lying: [...lying].sort((left, right) => left - right) };
}

interface NodePart {
  readonly node: number;
  readonly part: Part;
}

function partsOf(replies: readonly ReleaseReply[], recordId: Bytes, lying: ReadonlySet<number>): NodePart[] {
  const likelierFirst = [...replies].sort((left, right) => Number(lying.has(left.node)) - Number(lying.has(right.node)));
  return likelierFirst.flatMap(({ node, partials }) =>
    partials.filter((released) => equal(released.recordId, recordId)).map(({ partial }) => ({ node, part: partial })),
  );
}

async function combineOne(
  record: LockedRecord,
  parts: readonly NodePart[],
  keyholders: KeyholderState,
  prepared: PreparedAccess,
  lying: Set<number>,
): Promise<SecretBytes> {
  try {
    return await dekOf(record, onePerNode(parts), keyholders);
  } catch (error) {
    if (known(error).code !== "record.wrong_key") throw error;
  }
  const honest = parts.filter((one) => isHonest(record, one, keyholders, prepared));
  for (const { node } of parts) if (!honest.some((one) => one.node === node)) lying.add(node);
  return dekOf(record, onePerNode(honest), keyholders);
}

/** The first part of each node: somebody in between may have put a forged one beside it. */
function onePerNode(parts: readonly NodePart[]): Part[] {
  return [...new Map([...parts].reverse().map(({ node, part }) => [node, part])).values()].reverse();
}

async function dekOf(record: LockedRecord, parts: readonly Part[], keyholders: KeyholderState): Promise<SecretBytes> {
  const recordId = toHex(record.header.recordId);
  if (parts.length < keyholders.threshold) {
    throw new Unavailable("release.too_few_parts", "", { recordId, actual: parts.length, expected: keyholders.threshold });
  }
  let shareB: Bytes;
  try {
    shareB = combine(record.envelope.capsule, parts, keyholders.threshold);
  } catch (error) {
    throw new Refused("record.wrong_key", known(error).code, { recordId });
  }
  return unwrapDek(record.session, record.header, record.envelope, shareB, record.keyCommitment);
}

function isHonest(record: LockedRecord, { node, part }: NodePart, keyholders: KeyholderState, prepared: PreparedAccess): boolean {
  const memberKey = keyholders.memberKeys[node];
  if (memberKey === undefined) return false;
  const { chain, recordId } = record.header;
  const { keyId, sharingEpoch } = keyholders;
  const transcript = dleqTranscript(chain, keyId, sharingEpoch, node, prepared.entryId, recordId, prepared.access.responseKey);
  return verifyPartial(memberKey, record.envelope.capsule, part, transcript);
}

function requireWindow(body: GrantBody): void {
  if (body.notBeforeMs >= body.expiresAtMs) throw new Refused("grant.invalid", "ends before it begins");
  if (body.dateFrom > body.dateTo) throw new Refused("grant.invalid", "record dates are the wrong way round");
}

/** Everything in a parcel speaks of one compartment and one owner, and the seeds are the ones of its keys. */
async function checkParcel(parcel: GrantParcel, chain: Bytes): Promise<void> {
  const { body, ownerSignature, epochKeys, card: signed } = parcel;
  const { card } = signed;
  const refuse = (detail: string): Refused => new Refused("grant.invalid", detail);
  if (!equal(body.chain, chain) || !equal(card.chain, chain)) throw refuse("another chain");
  if (!verify(body.ownerKey, grantMessage(body), ownerSignature)) throw refuse("the owner did not sign this body");
  if (!equal(card.compartmentId, body.compartmentId) || !equal(card.ownerKey, body.ownerKey))
    throw refuse("the card is another compartment's");
  if (!verify(card.ownerKey, cardMessage(card), signed.signature)) throw refuse("the owner did not sign the card");
  const epochs = epochKeys.map((key) => key.readingEpoch);
  if (epochs.some((epoch, i) => i > 0 && epochs[i - 1]! >= epoch)) throw refuse("reading epochs are repeated or unsorted");
  for (const { readingEpoch, readingSeed } of epochKeys) {
    if (readingEpoch !== card.readingEpoch) continue;
    const seed = new SecretBytes(readingSeed);
    const feedKey = await feedKeyOf(seed, readingEpoch);
    const fits = equal(readingKeyOf(seed).public, card.readingKey) && equal(feedKey.public, card.feedReadKey);
    if (!fits) throw refuse("the reading seed is not the card's");
  }
}
