// What owner and grantee do alike: follow a feed, fetch and check records, open them. Every piece is compared with the chain.

import { type Bytes, compare, toHex } from "../bytes.ts";
import { HceError, known, Refused } from "../errors.ts";
import type { OpeningKey } from "../keys/seal.ts";
import type { SecretBytes } from "../keys/secret.ts";
import type { HeldRecord } from "../terms/mailbox.ts";
import type { ContentManifest, Opening, RecordHeader } from "../terms/records.ts";
import { type CredentialState, type HealthReader, type RecordState, stateKey } from "../terms/states.ts";
import { checkCiphertext, checkRecord, type OpenedSession, openRecord, readSession, verifyAuthor } from "../vault/opening.ts";
import type { Mail } from "./mail.ts";
import type { Network } from "./network.ts";
import type { NodeClient } from "./node.ts";

/** Ciphertexts on their way at one time; bounds what they take in memory. */
const GATHERED_TOGETHER = 32;

/** A record the feed names, with the session that can open its lock A. Not yet compared with the chain. */
export interface ListedRecord {
  readonly recordId: Bytes;
  readonly opening: Opening;
  readonly session: OpenedSession;
}

/** A listed record compared with the chain: header, state and envelope belong together and its author was certified. */
export interface CheckedRecord {
  readonly listed: ListedRecord;
  readonly state: RecordState;
  readonly header: RecordHeader;
  readonly held: HeldRecord;
  readonly author: CredentialState;
}

/** Plaintext, and everything that proves where it comes from. */
export interface OpenedRecord {
  readonly recordId: Bytes;
  readonly kind: string;
  /** The day the record is about. */
  readonly date: string;
  readonly manifest: ContentManifest;
  readonly author: CredentialState;
  readonly authorId: Bytes;
  readonly state: RecordState;
}

/** Record id in hex -> everything the feed says it is. Whoever may post may name any record; the chain tells which one is right. */
export type Listing = ReadonlyMap<string, readonly ListedRecord[]>;

/** Record id in hex -> why it could not be opened. */
export type Refusal = ReadonlyMap<string, HceError>;

/** What one node holds of these records. */
export type FetchHeld = (node: NodeClient, records: readonly Bytes[]) => Promise<readonly HeldRecord[]>;

/** Every record the feed of one reading epoch names. Entries that are not for this key are passed over. */
export async function followFeed(
  feed: Mail,
  readingKey: OpeningKey,
  chain: Bytes,
  compartmentId: Bytes,
  epoch: number,
): Promise<Listing> {
  const listing = new Map<string, ListedRecord[]>();
  for (const item of await feed.items("feed")) {
    const session = await sessionOrNull(readingKey, item, chain, compartmentId, epoch);
    for (const { recordId, opening } of session?.openings ?? []) {
      const name = toHex(recordId);
      listing.set(name, [...(listing.get(name) ?? []), { recordId, opening, session: session! }]);
    }
  }
  return listing;
}

/** Several feeds as one. */
export function merged(listings: readonly Listing[]): Listing {
  const together = new Map<string, readonly ListedRecord[]>();
  for (const listing of listings) {
    for (const [name, candidates] of listing) together.set(name, [...(together.get(name) ?? []), ...candidates]);
  }
  return together;
}

/** Those of the names that the feed of this reading epoch lists. */
export function namedInEpoch(listing: Listing, names: readonly Bytes[], epoch: number): readonly Bytes[] {
  return names.filter((name) => listing.get(toHex(name))?.some((one) => one.session.readingEpoch === epoch) ?? false);
}

/** The session of a feed item; null when it is not for this key. */
export async function sessionOrNull(
  readingKey: OpeningKey,
  item: Bytes,
  chain: Bytes,
  compartmentId: Bytes,
  epoch: number,
): Promise<OpenedSession | null> {
  try {
    return await readSession(readingKey, item, chain, compartmentId, epoch);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

/**
 * Records that fit what the chain committed to, and those that do not, each with its named reason. An envelope that does not fit is one
 * node's word: the next node is asked. Throws what the nodes said when none answered.
 */
export async function checkListed(
  network: Network,
  fetchHeld: FetchHeld,
  listing: Listing,
  wanted: readonly Bytes[],
): Promise<{ checked: readonly CheckedRecord[]; refused: Refusal }> {
  const final = await network.reader(...wanted.map(stateKey.record));
  const people = await authors(network, final, listing, wanted);
  const checked = new Map<string, CheckedRecord>();
  const refused = new Map<string, HceError>();
  for (const recordId of wanted) {
    if (final.record(recordId) === null) refused.set(toHex(recordId), named("record.not_final", recordId));
    else if (!listing.has(toHex(recordId))) refused.set(toHex(recordId), named("record.not_listed", recordId));
  }
  const sought = wanted.filter((recordId) => !refused.has(toHex(recordId)));
  let failure: HceError | null = null;
  let answered = false;
  for (const node of network.nodes) {
    const missing = sought.filter((recordId) => !checked.has(toHex(recordId)));
    if (missing.length === 0) break;
    let held: ReadonlyMap<string, HeldRecord>;
    try {
      held = new Map((await fetchHeld(node, missing)).map((one) => [toHex(one.recordId), one]));
    } catch (error) {
      failure = known(error);
      continue;
    }
    answered = true;
    for (const recordId of missing) {
      const name = toHex(recordId);
      try {
        checked.set(name, checkOne(network, recordId, final, held.get(name) ?? null, listing, people));
        refused.delete(name);
      } catch (error) {
        if (held.has(name) || !refused.has(name)) refused.set(name, known(error));
      }
    }
  }
  if (failure !== null && !answered) throw failure;
  return { checked: [...checked.values()], refused };
}

/** Opens the checked records there are keys for (by record id in hex); those that cannot be opened, each with its named reason. */
export async function openAll(
  network: Network,
  checked: readonly CheckedRecord[],
  deks: ReadonlyMap<string, SecretBytes>,
): Promise<{ opened: readonly OpenedRecord[]; refused: Refusal }> {
  const refused = new Map<string, HceError>();
  const opened: OpenedRecord[] = [];
  const waiting = checked.flatMap((record) => {
    const dek = deks.get(toHex(record.listed.recordId));
    return dek === undefined ? [] : [{ record, dek }];
  });
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      try {
        opened.push(await openChecked(network, next.record, next.dek));
      } catch (error) {
        refused.set(toHex(next.record.listed.recordId), known(error));
      }
    }
  };
  await Promise.all(Array.from({ length: GATHERED_TOGETHER }, work));
  opened.sort((left, right) => compare(left.recordId, right.recordId)); // whichever came first: every device shows one order
  return { opened, refused };
}

/** Proven credentials of all claimed authors, and of the organisations that committed. */
async function authors(network: Network, final: HealthReader, listing: Listing, wanted: readonly Bytes[]): Promise<HealthReader> {
  const keys = new Map<string, Bytes>();
  for (const recordId of wanted) {
    for (const { opening } of listing.get(toHex(recordId)) ?? []) {
      const key = stateKey.credential(opening.policy.author);
      keys.set(toHex(key), key);
    }
    const state = final.record(recordId);
    if (state !== null) keys.set(toHex(state.orgId), stateKey.organisation(state.orgId));
  }
  return network.reader(...keys.values());
}

function checkOne(
  network: Network,
  recordId: Bytes,
  final: HealthReader,
  held: HeldRecord | null,
  listing: Listing,
  people: HealthReader,
): CheckedRecord {
  if (held === null) throw named("record.envelope_missing", recordId);
  const state = final.record(recordId)!;
  let failure: HceError = named("record.not_listed", recordId);
  for (const listed of listing.get(toHex(recordId)) ?? []) {
    try {
      const { keyId } = network.genesis.keyholders;
      const header = checkRecord(network.chain, keyId, recordId, state, listed.opening, held.envelope);
      return { listed, state, header, held, author: verifyAuthor(listed.opening, recordId, state, people) };
    } catch (error) {
      failure = known(error);
    }
  }
  throw failure;
}

/** Gathers the ciphertext, verifies its name and opens it. */
async function openChecked(network: Network, checked: CheckedRecord, dek: SecretBytes): Promise<OpenedRecord> {
  const { listed, header, state, author } = checked;
  const { opening, recordId } = listed;
  const ciphertext = await network.ciphertext(opening.ciphertext, opening.placement);
  checkCiphertext(header, opening, ciphertext);
  const manifest = await openRecord(dek, ciphertext, header, state.keyCommitment);
  return {
    recordId,
    kind: opening.policy.kind,
    date: opening.policy.date,
    manifest,
    author,
    authorId: opening.policy.author,
    state,
  };
}

function named(code: string, recordId: Bytes): Refused {
  return new Refused(code, "", { recordId: toHex(recordId) });
}
