// All keys of one compartment, from the root alone (`docs/formats.md`, section People).
//
//     root --owner--------> Ed25519   signs cards, tokens, grants; H(public) is on chain
//          --recovery-----> Ed25519   replaces the owner key
//          --root---------> X-Wing    opens the owner's lock of every session
//          --reading,e----> 32 bytes  the reading seed of epoch e, handed to grantees: X-Wing key, and --feed,e--> Ed25519
//          --log----------> X-Wing    opens the receipts of releases
//          --log-read-----> Ed25519   fetches them
//          --revoke,nonce-> Ed25519   one per grant: revokes it
//          --grant,reader-> 32 bytes  the nonce of the grant to this reader key
//
// The grant's nonce follows from the root and the reader key, which is on chain: a device that has nothing but the words finds for
// every grant it learns of whether it is its own, and the key that revokes it.

import type { Bytes } from "../bytes.ts";
import { digest } from "../codec/hashing.ts";
import { deriveSeed, type Root } from "./derive.ts";
import { OpeningKey } from "./seal.ts";
import type { SecretBytes } from "./secret.ts";
import { SigningKey } from "./sign.ts";

/** The keys of a compartment number `index`. Private keys are derived when first asked for; `open` derives those used everywhere. */
export class CompartmentKeys {
  readonly index: number;
  readonly owner: SigningKey;
  readonly recovery: SigningKey;
  readonly #root: Root;
  readonly #openedAs: Bytes | null;
  readonly #made = new Map<string, Promise<SigningKey> | Promise<OpeningKey>>();

  private constructor(root: Root, index: number, owner: SigningKey, recovery: SigningKey, openedAs: Bytes | null) {
    this.#root = root;
    this.index = index;
    this.owner = owner;
    this.recovery = recovery;
    this.#openedAs = openedAs;
  }

  /** `openedAs`: id of the compartment, where a rotation has put these keys in the place of those it was opened with. */
  static async open(root: Root, index = 0, openedAs: Bytes | null = null): Promise<CompartmentKeys> {
    if (!Number.isSafeInteger(index) || index < 0) throw new RangeError("compartments count from 0");
    const [owner, recovery] = await Promise.all(
      ["owner", "recovery"].map(async (use) => SigningKey.fromSeed(await root.derive(`compartment/${use}`, index))),
    );
    return new CompartmentKeys(root, index, owner!, recovery!, openedAs);
  }

  get ownerDigest(): Bytes {
    return ownerDigest(this.owner.public);
  }

  /** On chain like the owner's: the recovery key shows itself only when it is used. */
  get recoveryDigest(): Bytes {
    return ownerDigest(this.recovery.public);
  }

  compartmentId(chain: Bytes): Bytes {
    return this.#openedAs ?? digest("hce/compartment/1", chain, this.ownerDigest, this.recoveryDigest);
  }

  root(): Promise<OpeningKey> {
    return this.#once("root", async () => new OpeningKey(await this.#derive("root")));
  }

  log(): Promise<OpeningKey> {
    return this.#once("log", async () => new OpeningKey(await this.#derive("log")));
  }

  logRead(): Promise<SigningKey> {
    return this.#once("log-read", async () => SigningKey.fromSeed(await this.#derive("log-read")));
  }

  /** What a grantee receives for this epoch. */
  readingSeed(epoch: number): Promise<SecretBytes> {
    return this.#derive("reading", epoch);
  }

  reading(epoch: number): Promise<OpeningKey> {
    return this.#once(`reading/${epoch}`, async () => readingKeyOf(await this.readingSeed(epoch)));
  }

  feed(epoch: number): Promise<SigningKey> {
    return this.#once(`feed/${epoch}`, async () => feedKeyOf(await this.readingSeed(epoch), epoch));
  }

  async revoke(grantNonce: Bytes): Promise<SigningKey> {
    return SigningKey.fromSeed(await this.#derive("revoke", grantNonce));
  }

  /** Nonce of the grant to this reader key: as hidden as a random one, and found again from the words. */
  async grantNonce(readerKey: Bytes): Promise<Bytes> {
    return (await this.#derive("grant", readerKey)).reveal();
  }

  #derive(use: string, ...path: readonly (number | Bytes)[]): Promise<SecretBytes> {
    return this.#root.derive(`compartment/${use}`, this.index, ...path);
  }

  #once<K extends SigningKey | OpeningKey>(name: string, make: () => Promise<K>): Promise<K> {
    const made = (this.#made.get(name) as Promise<K> | undefined) ?? make();
    this.#made.set(name, made as Promise<SigningKey> | Promise<OpeningKey>);
    return made;
  }
}

export function ownerDigest(ownerKey: Bytes): Bytes {
  return digest("hce/owner/1", ownerKey);
}

/** The key lock A is made for. */
export function readingKeyOf(readingSeed: SecretBytes): OpeningKey {
  return new OpeningKey(readingSeed);
}

/** The key that reads the epoch's feed: grantees derive it too, without knowing the compartment's index. */
export async function feedKeyOf(readingSeed: SecretBytes, epoch: number): Promise<SigningKey> {
  return SigningKey.fromSeed(await deriveSeed(readingSeed, "compartment/feed", epoch));
}
