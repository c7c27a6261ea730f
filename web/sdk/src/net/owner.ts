// An owner acts: reads without the keyholders, grants, revokes, audits, erases. Keys stay in `CompartmentKeys`.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { encodeAs } from "../codec/shape.ts";
import { type HceError, known, Refused, Unavailable } from "../errors.ts";
import type { CompartmentKeys } from "../keys/compartments.ts";
import type { HealthReceipt } from "../terms/chain.ts";
import {
  type AccessRequest,
  CLOCK_SKEW_MS,
  type GrantBody,
  type Mode,
  OfferedGrantShape,
  type SignedCard,
  type SignedReceipt,
  type SignedToken,
} from "../terms/grants.ts";
import {
  actMessage,
  type HeldRecord,
  MAX_PAGE_ITEMS,
  type Ownership,
  type OwnReadReceipt,
  type SignedDeletion,
} from "../terms/mailbox.ts";
import { type CompartmentState, type GrantState, stateKey } from "../terms/states.ts";
import { makeBody, signTx } from "../terms/transactions.ts";
import type { AnchorReport } from "../vault/anchors.ts";
import { audit, type AuditReport, type Log, readOwnReceipts, readReceipts } from "../vault/auditing.ts";
import { makeCard, makeToken } from "../vault/cards.ts";
import { checkRequest, type MadeGrant, makeGrant, requireSameGrant } from "../vault/granting.ts";
import { type OpenedSession, openOwnerLock, ownerChecksBothLocks, ownerOpen } from "../vault/opening.ts";
import type { SecretBytes } from "../keys/secret.ts";
import type { EarlierKeys } from "../vault/handovers.ts";
import { checkReceipts, grantOnChain } from "./audits.ts";
import { eraseAt } from "./erasing.ts";
import { type Era, erasOf, feedOf, followEra, placeOf } from "./eras.ts";
import { Mail } from "./mail.ts";
import { postTo, publish } from "./offers.ts";
import { type Network, requireOne } from "./network.ts";
import {
  type CheckedRecord,
  checkListed,
  type FetchHeld,
  type Listing,
  merged,
  namedInEpoch,
  openAll,
  type OpenedRecord,
  type Refusal,
  sessionOrNull,
} from "./reading.ts";

/** Life of a write token an owner gives to an organisation. */
const TOKEN_LIFE_MS = 365 * 24 * 3_600_000;
const GRANT_WAIT_MS = 20_000;
const GRANT_POLL_MS = 250;

/** The owner's own reading. A record is in one of the two. */
export interface OwnRecords {
  readonly opened: readonly OpenedRecord[];
  readonly refused: Refusal;
}

/** What waits for the owner's word: one session, opened as far as the reading key goes. */
export interface Waiting {
  readonly item: Bytes;
  readonly session: OpenedSession;
  readonly era: Era;
}

/** A grant as far as a device knows it; `body` is null where only the log told of it. */
export interface KnownGrant {
  readonly grantId: Bytes;
  readonly body: GrantBody | null;
}

/** The owner of one compartment, in its current reading epoch. What was written to earlier keys of it is read along. */
export class Owner {
  readonly keys: CompartmentKeys;
  readonly compartmentId: Bytes;
  readonly readingEpoch: number;
  /** Oldest first; empty for an account that was its owner's from the beginning. */
  readonly earlier: readonly EarlierKeys[];
  readonly #network: Network;
  readonly #eras: readonly Era[];

  constructor(network: Network, keys: CompartmentKeys, readingEpoch = 0, earlier: readonly EarlierKeys[] = []) {
    this.#network = network;
    this.keys = keys;
    this.readingEpoch = readingEpoch;
    this.earlier = earlier;
    this.#eras = erasOf(keys, readingEpoch, earlier);
    this.compartmentId = keys.compartmentId(network.chain);
  }

  /** Proven state of the compartment; null before it is opened, which an organisation pays for. */
  async compartment(): Promise<CompartmentState | null> {
    return (await this.#network.reader(stateKey.compartment(this.compartmentId))).compartment(this.compartmentId);
  }

  /** A fresh contact card for an author. `compartment.unknown` before the compartment is opened. */
  async card(): Promise<SignedCard> {
    const { version } = await this.#opened();
    return makeCard(this.keys, this.#network.chain, version, this.readingEpoch, this.#network.now());
  }

  /** Has a card at the nodes that authors can fetch for a while yet; called now and then. The card that is out now. */
  async publishCard(): Promise<SignedCard> {
    return publish(this.#network, await this.card(), await this.feedAddress());
  }

  /** Lets an organisation write without quarantine, for a year or until revoked by its serial. */
  token(orgId: Bytes, serial: number): Promise<SignedToken> {
    return makeToken(this.keys, this.#network.chain, orgId, this.readingEpoch, serial, this.#network.now() + TOKEN_LIFE_MS);
  }

  /** Where authors write to now. */
  feedAddress(): Promise<Bytes> {
    return feedOf(this.#eras.at(-1)!);
  }

  /** Every record the feeds name: kind, day and author, before anything is compared with the chain or opened. */
  async listing(): Promise<Listing> {
    return merged(await Promise.all(this.#eras.map((era) => followEra(this.#network, era, this.compartmentId))));
  }

  /** Opens records with the root key alone; both locks of each are checked on the way. All that are listed, unless some are named. */
  async readOwn(listing?: Listing, wanted?: readonly Bytes[]): Promise<OwnRecords> {
    const listed = listing ?? (await this.listing());
    const names = wanted ?? [...listed.values()].map(([first]) => first!.recordId);
    const fetchHeld: FetchHeld = async (node, records) => {
      const held: HeldRecord[] = [];
      for (const era of this.#eras) {
        const ours = namedInEpoch(listed, records, era.epoch);
        if (ours.length > 0) held.push(...(await (await this.#ownFeed(era)).records(node, "owner", ours)).found);
      }
      return held;
    };
    const { checked, refused: failed } = await checkListed(this.#network, fetchHeld, listed, names);
    const refused = new Map<string, HceError>(failed);
    const deks = new Map<string, SecretBytes>();
    const secrets = new Map<OpenedSession, SecretBytes>();
    for (const one of checked) {
      const name = toHex(one.listed.recordId);
      try {
        deks.set(name, await this.#checkBothLocks(one, secrets));
      } catch (error) {
        refused.set(name, known(error));
      }
    }
    const { opened, refused: unopened } = await openAll(this.#network, checked, deks);
    for (const [name, error] of unopened) refused.set(name, error);
    for (const secret of [...deks.values(), ...secrets.values()]) secret.wipe();
    return { opened, refused };
  }

  /** Entries that came without a write token and wait for the owner's word. Those of other keys are passed over. */
  async quarantine(): Promise<readonly Waiting[]> {
    const waiting: Waiting[] = [];
    for (const era of this.#eras) {
      const key = await era.keys.reading(era.epoch);
      for (const item of await this.#ownItems(era, "quarantine")) {
        const session = await sessionOrNull(key, item, this.#network.chain, this.compartmentId, era.epoch);
        if (session !== null) waiting.push({ item, session, era });
      }
    }
    return waiting;
  }

  /** What is signed for one node to accept or reject; for each other one it differs in node, number, time and nonce. */
  async draft({ era }: Waiting, what: "accept" | "reject"): Promise<Bytes> {
    return actMessage(await (await this.#ownFeed(era)).draft(this.#network.nodes[0]!, what, 0));
  }

  async accept({ item, era }: Waiting): Promise<void> {
    await (await this.#ownFeed(era)).actOn(item, "quarantine", "accept");
  }

  /** The entry and the records that waited with it are erased. */
  async reject({ item, era }: Waiting): Promise<void> {
    await (await this.#ownFeed(era)).actOn(item, "quarantine", "reject");
  }

  /** Nobody opens these records again, the owner included. The receipts of the nodes that did it, each signed, for this feed. */
  async erase(records: readonly Bytes[]): Promise<readonly SignedDeletion[]> {
    const listing: Listing = this.#eras.length > 1 ? await this.listing() : new Map();
    const receipts: SignedDeletion[] = [];
    for (const era of this.#eras) {
      const [own, feed] = [await this.#ownFeed(era), await feedOf(era)];
      const newest = era === this.#eras.at(-1);
      const ours = newest ? records.filter((name) => !this.#isEarlier(listing, name)) : namedInEpoch(listing, records, era.epoch);
      for (let start = 0; start < ours.length; start += MAX_PAGE_ITEMS) {
        const part = ours.slice(start, start + MAX_PAGE_ITEMS);
        receipts.push(...requireOne(await this.#network.everyNode((node) => eraseAt(this.#network, node, own, feed, part))));
      }
    }
    return receipts;
  }

  /** Tokens of that serial lead into quarantine from now on. */
  async revokeToken(serial: number): Promise<void> {
    const own = await this.#ownFeed(this.#eras.at(-1)!);
    requireOne(await this.#network.everyNode((node) => own.act(node, "revoke-token", serial)));
  }

  /**
   * A signed grant, checked against the chain, not yet given to anybody: `grantMessage(made.body)` is what was signed. `leave` gives it;
   * it is final once the grantee's organisation has countersigned (`waitGranted`).
   */
  async prepareGrant(
    request: AccessRequest,
    terms: { lastsMs: number; dateFrom: string; dateTo: string; mode?: Mode },
  ): Promise<MadeGrant> {
    const nowMs = this.#network.now();
    await this.#organisationOf(request);
    const { version } = await this.#opened();
    const { lastsMs, dateFrom, dateTo, mode = "read" } = terms;
    const chosen = {
      notBeforeMs: Math.max(0, nowMs - CLOCK_SKEW_MS),
      expiresAtMs: nowMs + lastsMs,
      dateFrom,
      dateTo,
      purpose: request.purpose,
      mode,
    };
    const nonce = await this.keys.grantNonce(request.readerKey);
    const epochKeys = this.#eras.map(async ({ keys, epoch }) => ({
      readingEpoch: epoch,
      readingSeed: (await keys.readingSeed(epoch)).reveal(),
    }));
    const card = await this.card();
    return makeGrant(this.keys, this.#network.chain, version, request, chosen, await Promise.all(epochKeys), card, nonce);
  }

  /** Puts the half-signed transaction and the parcel into the grantee's inbox at every node; at least one took it. */
  async leave(made: MadeGrant, request: AccessRequest): Promise<void> {
    const orgId = await this.#organisationOf(request);
    const validUntil = (await this.#network.head()) + this.#network.genesis.params.replayWindow;
    const body = makeBody(this.#network.chain, "grant.open", made.public, orgId, validUntil);
    const grantTx = await signTx(body, [["revoke_key", made.revokeKey]]);
    const data = encodeAs(OfferedGrantShape, { grantTx, parcel: made.parcel });
    await postTo(this.#network, orgId, data, this.#ownership(), this.keys.owner);
  }

  /** The proven grant, once it is final; `grant.not_final` when the grantee has not registered it in time. */
  async waitGranted(made: MadeGrant, waitMs = GRANT_WAIT_MS): Promise<GrantState> {
    const deadline = Date.now() + waitMs;
    while (Date.now() < deadline) {
      const state = await this.grantState(made.grantId);
      if (state !== null) {
        requireSameGrant(made.body, state);
        return state;
      }
      await new Promise((resolve) => setTimeout(resolve, GRANT_POLL_MS));
    }
    throw new Unavailable("grant.not_final", "", { grantId: toHex(made.grantId) });
  }

  /** The proven public half of a grant; null when the chain knows none. */
  async grantState(grantId: Bytes): Promise<GrantState | null> {
    return (await this.#network.reader(stateKey.grant(grantId))).grant(grantId);
  }

  /**
   * Ends a grant. Needs no payer and nobody's signature but the owner's; told to every node at once: an honest one stops releasing when
   * it hears of it. `nonce` is the one in the grant's body; without it the grant must be one this SDK made.
   */
  async revoke(grantId: Bytes, nonce?: Bytes): Promise<HealthReceipt> {
    const key = await this.keys.revoke(nonce ?? (await this.#nonceOf(grantId)));
    return this.#network.transact("grant.revoke", { grantId }, null, [["revoke_key", key]], true);
  }

  /**
   * The grants the log tells of: what a device that has nothing but the words can know. A grant that was never used is not among them,
   * nor one whose receipts every node keeps back.
   */
  async grantsInLog(log?: Log<SignedReceipt>): Promise<readonly KnownGrant[]> {
    const { receipts } = log ?? (await this.receipts());
    const grants = new Map(receipts.map(({ receipt }) => [toHex(receipt.access.grantId), receipt.access.grantId]));
    return [...grants.values()].map((grantId) => ({ grantId, body: null }));
  }

  /** The log of these grants, checked against the chain's counters, and what was read with the owner key itself. */
  async audit(grants: readonly KnownGrant[]): Promise<AuditReport> {
    const onChain = [];
    for (const { grantId, body } of grants) onChain.push(await grantOnChain(this.#network, grantId, body));
    const log = await this.receipts();
    const readers = new Map(log.receipts.map(({ receipt }) => [toHex(receipt.access.credentialId), receipt.access.credentialId]));
    const people = await this.#network.reader(...[...readers.values()].map(stateKey.credential));
    return audit(this.#network.chain, onChain, log, people, await this.ownReads());
  }

  /** Whether each receipt of the log stands in the list its node put on chain. */
  async checkAnchors(): Promise<AnchorReport> {
    return checkReceipts(this.#network, (await this.receipts()).receipts);
  }

  /** Every receipt of every node that answers, decrypted and its signature checked. */
  async receipts(): Promise<Log<SignedReceipt>> {
    const logs = [...this.earlier.map(({ keys }) => keys), this.keys].map(async (keys) => {
      const logRead = await keys.logRead();
      const items = await new Mail(this.#network, [logRead.public, keys.owner.public], logRead).items("log");
      return readReceipts(await keys.log(), items, this.#network.chain, this.#network.serviceKeys);
    });
    return together(await Promise.all(logs));
  }

  /** Receipts of reading with an owner key, by this device or by whoever else has or had one: a custodian, say. */
  async ownReads(): Promise<Log<OwnReadReceipt>> {
    const logs = this.#eras.map(async (era) =>
      readOwnReceipts(await this.#ownItems(era, "own-reads"), this.#network.chain, await feedOf(era), this.#network.serviceKeys),
    );
    return together(await Promise.all(logs));
  }

  async #opened(): Promise<CompartmentState> {
    const state = await this.compartment();
    if (state === null) throw new Refused("compartment.unknown", "", { compartmentId: toHex(this.compartmentId) });
    return state;
  }

  /** The organisation of a request whose grantee may read and whose inbox key is the certified one. */
  async #organisationOf(request: AccessRequest): Promise<Bytes> {
    const { grantee } = request;
    const credential = (await this.#network.reader(stateKey.credential(grantee))).credential(grantee);
    const orgId = credential?.body.orgId ?? grantee;
    const people = await this.#network.reader(stateKey.credential(grantee), stateKey.organisation(orgId));
    return checkRequest(request, this.#network.chain, people, this.#network.light.height, this.#network.now());
  }

  /** The nonce of a grant this SDK made follows from its reader key, which is on chain. */
  async #nonceOf(grantId: Bytes): Promise<Bytes> {
    const state = await this.grantState(grantId);
    if (state === null) throw new Refused("grant.unknown", "", { grantId: toHex(grantId) });
    const nonce = await this.keys.grantNonce(state.readerKey);
    const key = await this.keys.revoke(nonce);
    if (!equal(key.public, state.revokeKey))
      throw new Refused("grant.body_differs", "not made by this owner", { grantId: toHex(grantId) });
    return nonce;
  }

  /** The record's key from the owner's wrap, when a grantee would get the same one. */
  async #checkBothLocks(
    { listed, header, held, state }: CheckedRecord,
    secrets: Map<OpenedSession, SecretBytes>,
  ): Promise<SecretBytes> {
    const { session } = listed;
    const { keys } = this.#eras[session.readingEpoch]!;
    if (held.ownerWrap === null) throw new Refused("not_found", "owner wrap", { recordId: toHex(listed.recordId) });
    const secret =
      secrets.get(session) ?? (await openOwnerLock(await keys.root(), session, this.#network.chain, this.compartmentId));
    secrets.set(session, secret);
    const mine = await ownerOpen(secret, held.ownerWrap, header);
    const { keyholders } = this.#network.genesis;
    await ownerChecksBothLocks(mine, held.ownerWrap, session, header, held.envelope, state, keyholders);
    mine.seedB.wipe();
    return mine.dek;
  }

  /** A feed of any era, asked as the owner of today. */
  async #ownFeed(era: Era): Promise<Mail> {
    return new Mail(this.#network, await placeOf(era), this.keys.owner, this.#ownership());
  }

  /** No node has heard of the feed of an earlier era in which nothing was written. */
  async #ownItems(era: Era, what: "quarantine" | "own-reads"): Promise<readonly Bytes[]> {
    try {
      return await (await this.#ownFeed(era)).items(what);
    } catch (error) {
      if (era.keys !== this.keys && known(error).code === "mailbox.not_current_owner") return [];
      throw error;
    }
  }

  #isEarlier(listing: Listing, name: Bytes): boolean {
    return this.#eras.slice(0, -1).some(({ epoch }) => namedInEpoch(listing, [name], epoch).length > 0);
  }

  #ownership(): Ownership {
    return { compartmentId: this.compartmentId, ownerKey: this.keys.owner.public };
  }
}

function together<T>(logs: readonly Log<T>[]): Log<T> {
  return { receipts: logs.flatMap(({ receipts }) => receipts), findings: logs.flatMap(({ findings }) => findings) };
}
