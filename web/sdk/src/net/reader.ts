// A grantee reads: access entry first, final; then every keyholder; then the parts combined, opened and checked.

import type { Bytes } from "../bytes.ts";
import { HceError, Refused, Unavailable } from "../errors.ts";
import { feedKeyOf, readingKeyOf } from "../keys/compartments.ts";
import { SecretBytes } from "../keys/secret.ts";
import type { SigningKey } from "../keys/sign.ts";
import { type GrantParcel, MAX_RECORDS_PER_ENTRY, type ReleaseReply } from "../terms/grants.ts";
import { combineRelease, makeAccess, makeReleaseRequest, openReleaseReply, type PreparedAccess } from "../vault/granting.ts";
import { ownerKeysByEpoch } from "./handovers.ts";
import { Mail } from "./mail.ts";
import type { Network } from "./network.ts";
import {
  type CheckedRecord,
  checkListed,
  type FetchHeld,
  followFeed,
  type ListedRecord,
  type Listing,
  namedInEpoch,
  openAll,
  type OpenedRecord,
  type Refusal,
} from "./reading.ts";

/** What access entries gave. A record is in one of the two. */
export interface ReadResult {
  readonly entryIds: readonly Bytes[];
  readonly opened: readonly OpenedRecord[];
  readonly refused: Refusal;
  readonly lyingNodes: readonly number[];
}

/** Who reads under a grant: the person, and the organisation whose tank pays for the access entry. */
export interface ReaderKeys {
  readonly readerKey: SigningKey;
  readonly credentialId: Bytes;
  readonly credentialKey: SigningKey;
  readonly payer: Bytes;
  readonly payerKey: SigningKey;
}

interface Feed {
  readonly feed: Mail;
  readonly readingEpoch: number;
  readonly readingSeed: Bytes;
}

/** One person of an organisation, reading under one grant. Plaintext stays with the caller. */
export class Reader {
  readonly parcel: GrantParcel;
  readonly #network: Network;
  readonly #keys: ReaderKeys;
  #ownerKeys: Promise<ReadonlyMap<number, Bytes>> | null = null;

  /** The parcel must come from `openParcel`. */
  constructor(network: Network, parcel: GrantParcel, keys: ReaderKeys) {
    this.#network = network;
    this.parcel = parcel;
    this.#keys = keys;
  }

  /** Every record the granted feeds name within the granted days. */
  async listing(): Promise<Listing> {
    const { body } = this.parcel;
    const listing = new Map<string, ListedRecord[]>();
    for (const { feed, readingEpoch, readingSeed } of await this.#feeds()) {
      const key = readingKeyOf(new SecretBytes(readingSeed));
      const found = await followFeed(feed, key, body.chain, body.compartmentId, readingEpoch);
      for (const [name, candidates] of found) {
        const granted = candidates.filter(
          ({ opening }) => body.dateFrom <= opening.policy.date && opening.policy.date <= body.dateTo,
        );
        if (granted.length > 0) listing.set(name, [...(listing.get(name) ?? []), ...granted]);
      }
    }
    return listing;
  }

  /** Opens up to 1,000 records under one new access entry; throws what ledger or keyholders refuse with. */
  async read(listing: Listing, records: readonly Bytes[], reason: string): Promise<ReadResult> {
    if (records.length > MAX_RECORDS_PER_ENTRY) throw new Refused("access.invalid", "one to 1,000 different records");
    const { credentialId, readerKey, payer, payerKey } = this.#keys;
    const prepared = makeAccess(this.parcel.body, credentialId, records, reason);
    const { grantId } = prepared.access;
    const signers = [
      ["reader", readerKey],
      ["payer", payerKey],
    ] as const;
    await this.#network.transact("access.open", { grantId, commitment: prepared.commitment }, payer, signers);
    return this.#open(prepared, listing);
  }

  /** Asks every keyholder, combines, opens. Records that cannot be opened are named with their reason. */
  async #open(prepared: PreparedAccess, listing: Listing): Promise<ReadResult> {
    const { checked, refused: unfit } = await checkListed(this.#network, this.#held(listing), listing, prepared.records);
    const refused = new Map<string, HceError>(unfit);
    if (checked.length === 0) return { entryIds: [prepared.entryId], opened: [], refused, lyingNodes: [] };
    const replies = await this.#askKeyholders(prepared, checked);
    const locked = checked.map(({ header, held, listed, state }) => ({
      header,
      envelope: held.envelope,
      session: listed.session,
      keyCommitment: state.keyCommitment,
    }));
    const combined = await combineRelease(replies, locked, this.#network.genesis.keyholders, prepared);
    const { opened, refused: unopened } = await openAll(this.#network, checked, combined.deks);
    for (const [name, error] of [...combined.failed, ...unopened]) refused.set(name, error);
    return { entryIds: [prepared.entryId], opened, refused, lyingNodes: combined.lying };
  }

  /** Replies of all nodes that released; with fewer than the threshold the refusal that enough of the others agree on is thrown. */
  async #askKeyholders(prepared: PreparedAccess, checked: readonly CheckedRecord[]): Promise<readonly ReleaseReply[]> {
    const { chain, genesis } = this.#network;
    const wanted = checked.map(({ listed, held }) => ({ ...listed, envelope: held.envelope }));
    const { body, ownerSignature } = this.parcel;
    const request = await makeReleaseRequest(prepared, body, ownerSignature, wanted, this.#keys.credentialKey);
    const { threshold } = genesis.keyholders;
    const answers = await this.#network.everyNode(async (node) => {
      const index = await this.#network.indexOf(node);
      return openReleaseReply(prepared, chain, await node.release(request), index);
    }, threshold);
    const replies = answers.filter((answer): answer is ReleaseReply => !(answer instanceof HceError));
    if (replies.length >= threshold) return replies;
    const reason = this.#network.reasonOf(answers);
    throw reason instanceof Refused ? reason : new Unavailable("release.too_few", "", { answering: replies.length });
  }

  /** Each record from the feed of the epoch that names it. */
  #held(listing: Listing): FetchHeld {
    return async (node, records) => {
      const pages = [];
      for (const { feed, readingEpoch } of await this.#feeds()) {
        const ours = namedInEpoch(listing, records, readingEpoch);
        if (ours.length > 0) pages.push(await feed.records(node, "envelopes", ours));
      }
      return pages.flatMap((page) => page.found);
    };
  }

  /** The feed of each granted reading epoch, under the owner key it was written to. */
  async #feeds(): Promise<readonly Feed[]> {
    const { body, epochKeys } = this.parcel;
    const epochs = epochKeys.map(({ readingEpoch }) => readingEpoch);
    const owners = await (this.#ownerKeys ??= ownerKeysByEpoch(this.#network, body.ownerKey, body.logReadKey, epochs));
    return Promise.all(
      epochKeys.map(async ({ readingEpoch, readingSeed }) => {
        const key = await feedKeyOf(new SecretBytes(readingSeed), readingEpoch);
        const feed = new Mail(this.#network, [key.public, owners.get(readingEpoch)!], key);
        return { feed, readingEpoch, readingSeed };
      }),
    );
  }
}
