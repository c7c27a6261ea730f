// Ed25519 (RFC 8032). Verifying follows the one pinned rule of the network (`src/hce/foundation/crypto/sign.py`), whatever the
// platform's own verifier would accept: a signature (R, S) of message M under key A is right when, and only when,
//
// 1. A is the canonical encoding of a curve point that is not of small order;
// 2. R is not of small order and S is below the group order;
// 3. S B = R + SHA-512(R, A, M) A without multiplying by the cofactor, compared as bytes of R.
//
// Browsers differ in 1 and 2, so verification is done in JavaScript. Signing is given to the platform where it has Ed25519: then the
// private key is a platform key that cannot be read back. Elsewhere the seed stays in memory.

import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, equal, fromHex } from "../bytes.ts";
import { SecretBytes } from "./secret.ts";

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
/** RFC 8410: what stands before the 32 bytes of a private key in PKCS #8. */
const PKCS8_HEAD = fromHex("302e020100300506032b657004220420");

export class SigningKey {
  readonly public: Bytes;
  readonly #key: CryptoKey | SecretBytes;

  private constructor(publicKey: Bytes, key: CryptoKey | SecretBytes) {
    this.public = publicKey;
    this.#key = key;
  }

  /** From a 32-byte seed, which is wiped when the platform has taken the key over. */
  static async fromSeed(seed: SecretBytes): Promise<SigningKey> {
    const publicKey = ed25519.getPublicKey(seed.reveal());
    const platformKey = await importPrivate(seed);
    if (platformKey !== null) seed.wipe();
    return new SigningKey(publicKey, platformKey ?? seed);
  }

  /** Whether the platform keeps the private key, so that no script can read it. */
  get isPlatformKey(): boolean {
    return !(this.#key instanceof SecretBytes);
  }

  /** 64-byte signature of exactly these bytes; callers pass `signingBytes(...)`. */
  async sign(message: Bytes): Promise<Bytes> {
    if (this.#key instanceof SecretBytes) return ed25519.sign(message, this.#key.reveal());
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#key, message));
  }
}

/** True when the signature is right under the pinned rule; false for anything else, malformed input included. */
export function verify(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  const [r, s] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
  if (s >= ORDER) return false;
  const [key, commitment] = [pointOf(publicKey), pointOf(r)];
  if (key === null || commitment === null) return false;
  const challenge = littleEndian(sha512(concat(r, publicKey, message))) % ORDER;
  const again = Point.BASE.multiplyUnsafe(s).add(key.negate().multiplyUnsafe(challenge));
  return equal(again.toBytes(), r);
}

/** A canonical point that is not of small order. */
function pointOf(raw: Uint8Array): InstanceType<typeof Point> | null {
  try {
    const point = Point.fromBytes(raw);
    return point.isSmallOrder() ? null : point;
  } catch {
    return null;
  }
}

async function importPrivate(seed: SecretBytes): Promise<CryptoKey | null> {
  const encoded = concat(PKCS8_HEAD, seed.reveal());
  try {
    return await crypto.subtle.importKey("pkcs8", encoded, "Ed25519", false, ["sign"]);
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  } finally {
    encoded.fill(0);
  }
}

function littleEndian(raw: Uint8Array): bigint {
  return raw.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
