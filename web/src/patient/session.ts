// An unlocked account: keys in memory, what it knows, and what it may ask. Ends when the page is left or locked.

import {
  type Bytes,
  CompartmentKeys,
  fromHex,
  type GrantState,
  type KnownGrant,
  type Network,
  Owner,
  type OwnRecords,
  Root,
  seedFromWords,
  type SecretBytes,
  stateKey,
  toHex,
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
  readonly #memoryKey: SecretBytes;
  readonly #who = new Map<string, Who>();
  #remembered: readonly RememberedGrant[];
  #records: Promise<OwnRecords> | null = null;

  private constructor(portal: Portal, owner: Owner, network: Network, key: SecretBytes, remembered: readonly RememberedGrant[]) {
    this.portal = portal;
    this.owner = owner;
    this.network = network;
    this.#memoryKey = key;
    this.#remembered = remembered;
  }

  static async open(portal: Portal, network: Network, words: string): Promise<Session> {
    const root = await Root.fromSeed(await seedFromWords(words));
    const owner = new Owner(network, await CompartmentKeys.open(root));
    const key = await root.derive("device/memory");
    const remembered = decodeMemory(await memoryOf(portal.genesis, toHex(owner.compartmentId), key));
    return new Session(portal, owner, network, key, remembered);
  }

  /** Opened once and kept until `refresh`. */
  records(): Promise<OwnRecords> {
    this.#records ??= this.owner.readOwn();
    return this.#records;
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
    return this.owner.token(fromHex(orgId), parseInt(orgId.slice(0, 8), 16));
  }
}
