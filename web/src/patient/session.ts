// An unlocked account: keys in memory, what it knows, and what it may ask. Ends when the page is left or locked.

import {
  type Bytes,
  claimAccount,
  type ClaimDesk,
  CompartmentKeys,
  findOwner,
  finishClaim,
  type FoundOwner,
  fromHex,
  type GrantState,
  keepHandover,
  type KnownGrant,
  type Network,
  Owner,
  type OwnRecords,
  prepareClaim,
  prepareRotation,
  Refused,
  Root,
  rotateAccount,
  type Rotation,
  seedFromWords,
  type SecretBytes,
  type SignedCard,
  type SignedClaim,
  stateKey,
  toHex,
  Unavailable,
} from "../../sdk/src/index.ts";
import { keepMemory, memoryOf } from "./device.ts";
import { decodeMemory, encodeMemory, merged, type RememberedGrant } from "./memory.ts";
import type { Portal } from "../network/portal.ts";

/** Somebody who may read or write: their own public name and their organisation's. */
export interface Who {
  readonly person: string;
  readonly organisation: string;
}

/** A grant with everything this device knows. `body` is null when only the log told of it. */
export interface GivenGrant extends KnownGrant {
  readonly state: GrantState | null;
}

export class Session {
  readonly portal: Portal;
  readonly network: Network;
  readonly owner: Owner;
  /** The card that is out now, once `publish` has seen to it. */
  card: SignedCard | null = null;
  readonly #root: Root;
  #found: FoundOwner | null;
  readonly #memoryKey: SecretBytes;
  readonly #who = new Map<string, Who>();
  #remembered: readonly RememberedGrant[];
  #records: Promise<OwnRecords> | null = null;

  private constructor(
    portal: Portal,
    network: Network,
    root: Root,
    owner: Owner,
    found: FoundOwner | null,
    key: SecretBytes,
    remembered: readonly RememberedGrant[],
  ) {
    this.portal = portal;
    this.network = network;
    this.owner = owner;
    this.#root = root;
    this.#found = found;
    this.#memoryKey = key;
    this.#remembered = remembered;
  }

  static async open(portal: Portal, network: Network, words: string): Promise<Session> {
    const root = await Root.fromSeed(await seedFromWords(words));
    return Session.#of(portal, network, root, await findOwner(network, root));
  }

  static async #of(portal: Portal, network: Network, root: Root, found: FoundOwner | null): Promise<Session> {
    const owner = found?.owner ?? new Owner(network, await CompartmentKeys.open(root));
    const key = await root.derive("device/memory");
    const remembered = decodeMemory(await memoryOf(portal.genesis, toHex(owner.compartmentId), key));
    return new Session(portal, network, root, owner, found, key, remembered);
  }

  /** The account as the nodes know it. Words that had none when this session began have been given one since. */
  async #account(): Promise<FoundOwner> {
    this.#found ??= await findOwner(this.network, this.#root);
    if (this.#found === null) throw new Refused("not_found");
    return this.#found;
  }

  /** Whether these words have an account. */
  get opened(): boolean {
    return this.#found !== null;
  }

  /** What others must find of an account while its owner is away: the card for authors, and the keys of before at every node. */
  async publish(): Promise<void> {
    this.card = await this.owner.publishCard();
    if (this.#found?.handover == null) return;
    try {
      await keepHandover(this.network, this.#found.handover);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error; // nodes that are away get it the next time
    }
  }

  /** What is signed to take over an account with a card: `claimMessage(signed.claim)`. */
  prepareClaim(code: string, orgId: string): Promise<SignedClaim> {
    return prepareClaim(this.network, this.#root, code, fromHex(orgId));
  }

  /** The account is these words' afterwards, and the organisation's no more. Broken off, it is taken up again where it was. */
  async takeOver(signed: SignedClaim, desk: ClaimDesk): Promise<Session> {
    const found = await claimAccount(this.network, this.#root, signed, desk);
    await finishClaim(found, signed.claim.orgId, null, desk);
    const session = await Session.#of(this.portal, this.network, this.#root, found);
    await session.publish();
    return session;
  }

  /** What is signed to put new words in the place of these: `body.bytes`. */
  async prepareRotation(words: string): Promise<Rotation> {
    return prepareRotation(this.network, await this.#account(), await Root.fromSeed(await seedFromWords(words)));
  }

  /** The same account under the new words, from the words of now. */
  async rotate(words: string, newWords: string, rotation: Rotation): Promise<Session> {
    const found = await rotateAccount(this.network, await this.#account(), await seedFromWords(words), rotation);
    const session = await Session.#of(this.portal, this.network, await Root.fromSeed(await seedFromWords(newWords)), found);
    await session.publish();
    return session;
  }

  /** Lets the organisation that kept the account write on without asking. */
  async letWrite(orgId: string, desk: ClaimDesk): Promise<void> {
    await finishClaim(await this.#account(), fromHex(orgId), serialOf(orgId), desk);
  }

  /** Opened once and kept until `refresh`. An empty record is looked for each time: somebody has just shown their code. */
  async records(): Promise<OwnRecords> {
    const asking = (this.#records ??= this.owner.readOwn());
    const records = await asking;
    if (records.opened.length === 0 && this.#records === asking) this.#records = null;
    return records;
  }

  refresh(): void {
    this.#records = null;
  }

  async remember(grant: RememberedGrant): Promise<void> {
    this.#remembered = merged(this.#remembered, [grant]);
    const account = toHex(this.owner.compartmentId);
    await keepMemory(this.portal.genesis, account, this.#memoryKey, encodeMemory(this.#remembered));
  }

  /** Remembered ones that became final, and used ones the log tells of; newest first. */
  async grants(): Promise<readonly GivenGrant[]> {
    const found = await this.#knownGrants();
    const chain = await this.network.reader(...found.map(({ grantId }) => stateKey.grant(grantId)));
    return found
      .map((grant) => ({ ...grant, state: chain.grant(grant.grantId) }))
      .filter(({ state }) => state !== null)
      .sort((a, b) => (b.state?.height ?? 0) - (a.state?.height ?? 0));
  }

  async #knownGrants(): Promise<readonly KnownGrant[]> {
    const told = await this.owner.grantsInLog();
    const known = new Set(this.#remembered.map(({ grantId }) => toHex(grantId)));
    return [...this.#remembered, ...told.filter(({ grantId }) => !known.has(toHex(grantId)))];
  }

  /** Names from the final chain, for credentials and organisations alike. */
  async whoAre(subjects: readonly Bytes[]): Promise<ReadonlyMap<string, Who>> {
    const unknown = subjects.filter((subject) => !this.#who.has(toHex(subject)));
    if (unknown.length > 0) {
      const people = await this.network.reader(...unknown.flatMap((one) => [stateKey.credential(one), stateKey.organisation(one)]));
      const employers = unknown.flatMap((one) => people.credential(one)?.body.orgId ?? []);
      const organisations = await this.network.reader(...employers.map(stateKey.organisation));
      for (const one of unknown) {
        const body = people.credential(one)?.body;
        const organisation = body === undefined ? people.organisation(one) : organisations.organisation(body.orgId);
        this.#who.set(toHex(one), { person: body?.name ?? "", organisation: organisation?.certificate.name ?? "" });
      }
    }
    return this.#who;
  }

  /** Lets an organisation write. The serial follows from the organisation, so that ending one token ends no other. */
  token(orgId: string): ReturnType<Owner["token"]> {
    return this.owner.token(fromHex(orgId), serialOf(orgId));
  }
}

function serialOf(orgId: string): number {
  return parseInt(orgId.slice(0, 8), 16);
}
