// HKDF-SHA256 (RFC 5869): one secret in, many independent secrets out.
//
// A `Root` keeps the 64 bytes behind the seed words as a platform key that no script can read back: it derives and does nothing
// else. What it derives is bytes in memory again; somebody who runs script in the page can ask it for any of them (README, Limits).

import { type Bytes } from "../bytes.ts";
import { encode } from "../codec/dagcbor.ts";
import { SecretBytes } from "./secret.ts";

export const SEED_BYTES = 32;

/** `length` bytes bound to `info`; the salt is empty, as everywhere in HCE. */
export async function hkdf(secret: SecretBytes | CryptoKey, info: Bytes, length = 32): Promise<Bytes> {
  const key = secret instanceof SecretBytes ? await hkdfKey(secret) : secret;
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 8 * length));
}

export class Root {
  /** Not extractable. May be kept in IndexedDB as it is: the browser stores the key, no script sees its bytes. */
  readonly key: CryptoKey;

  constructor(key: CryptoKey) {
    this.key = key;
  }

  /** Wipes the seed: afterwards only the platform has it. */
  static async fromSeed(seed: SecretBytes): Promise<Root> {
    const root = new Root(await hkdfKey(seed));
    seed.wipe();
    return root;
  }

  derive(use: string, ...path: readonly (number | Bytes)[]): Promise<SecretBytes> {
    return deriveSeed(this.key, use, ...path);
  }
}

/** 32-byte seed = HKDF(root, info = DAG-CBOR(["hce/derive/1", use, ...path])): the words alone find every key again. */
export async function deriveSeed(
  root: SecretBytes | CryptoKey,
  use: string,
  ...path: readonly (number | Bytes)[]
): Promise<SecretBytes> {
  return new SecretBytes(await hkdf(root, encode(["hce/derive/1", use, ...path]), SEED_BYTES));
}

function hkdfKey(secret: SecretBytes): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", secret.reveal(), "HKDF", false, ["deriveBits"]);
}
