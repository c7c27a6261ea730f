// Sealing to a public key: HPKE base mode (RFC 9180, section 5), KEM X-Wing (0x647a), HKDF-SHA256 (0x0001), AES-256-GCM (0x0002).
//
// X-Wing is ML-KEM-768 and X25519 together: a sealed message stays closed as long as either holds. `info` and `aad` are bound at
// once: the HPKE info is DAG-CBOR(["hce/seal/1", info, aad]) and the HPKE aad is empty (`src/hce/foundation/crypto/seal.py`).
// One message is sealed under each encapsulation, so the key schedule is used at sequence number 0 only.

import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { ml_kem768_x25519 as xWing } from "@noble/post-quantum/hybrid.js";
import { bigEndian, type Bytes, concat, utf8 } from "../bytes.ts";
import { encode } from "../codec/dagcbor.ts";
import { Malformed, Refused } from "../errors.ts";
import { aesKey, decryptOrRefuse } from "./aead.ts";
import { SecretBytes } from "./secret.ts";

/** ML-KEM-768 encapsulation key (1,184) and X25519 public key (32). */
export const PUBLIC_BYTES = 1216;
/** ML-KEM-768 ciphertext (1,088) and X25519 ephemeral key (32). */
export const ENC_BYTES = 1120;
/** Most that info and aad take together, encoded. */
export const MAX_INFO_BYTES = 8192;

const NONE = new Uint8Array(0);
const MODE_BASE = Uint8Array.of(0);
/** "HPKE", KEM, KDF and AEAD. */
const SUITE_ID = concat(utf8("HPKE"), bigEndian(0x647a, 2), bigEndian(1, 2), bigEndian(2, 2));
const VERSION = utf8("HPKE-v1");
const KEY_BYTES = 32;
const NONCE_BYTES = 12;

/** An X-Wing private key. No platform has X-Wing yet, so its seed stays in memory until `wipe`. */
export class OpeningKey {
  readonly public: Bytes;
  readonly #seed: SecretBytes;

  /** From the 32-byte X-Wing decapsulation key. */
  constructor(seed: SecretBytes) {
    if (seed.length !== 32) throw new RangeError("an X-Wing seed has 32 bytes");
    this.public = xWing.keygen(seed.reveal()).publicKey;
    this.#seed = seed;
  }

  /** The plaintext; `seal.broken` for anything that was not sealed to this key with this info and aad. */
  async open(info: Bytes, sealed: Bytes, aad: Bytes = NONE): Promise<Bytes> {
    const bound = boundInfo(info, aad);
    if (sealed.length < ENC_BYTES) throw new Refused("seal.broken", "too short");
    const { key, algorithm } = schedule(this.#shared(sealed.subarray(0, ENC_BYTES)), bound);
    return decryptOrRefuse(algorithm, await aesKey(key, "decrypt"), sealed.slice(ENC_BYTES));
  }

  wipe(): void {
    this.#seed.wipe();
  }

  #shared(enc: Bytes): Bytes {
    const seed = this.#seed.reveal();
    try {
      return xWing.decapsulate(enc, seed);
    } catch {
      throw new Refused("seal.broken", "X-Wing"); // the library says no more than Error: an X25519 point of small order
    }
  }
}

/** enc and ciphertext; `seal.bad_key` when nobody can seal to this key. */
export async function seal(publicKey: Bytes, info: Bytes, plaintext: Bytes, aad: Bytes = NONE): Promise<Bytes> {
  const bound = boundInfo(info, aad);
  if (publicKey.length !== PUBLIC_BYTES) throw new Malformed("length", { actualBytes: publicKey.length }, "seal.bad_key");
  const { cipherText, sharedSecret } = encapsulate(publicKey);
  const { key, algorithm } = schedule(sharedSecret, bound);
  return concat(cipherText, new Uint8Array(await crypto.subtle.encrypt(algorithm, await aesKey(key, "encrypt"), plaintext)));
}

function encapsulate(publicKey: Bytes): { cipherText: Bytes; sharedSecret: Bytes } {
  try {
    return xWing.encapsulate(publicKey);
  } catch {
    throw new Malformed("not an X-Wing key", {}, "seal.bad_key"); // as above
  }
}

/** RFC 9180, section 5.1: KeySchedule of base mode. */
function schedule(shared: Bytes, info: Bytes): { key: Bytes; algorithm: AesGcmParams } {
  const pskIdHash = labeledExtract(NONE, "psk_id_hash", NONE);
  const context = concat(MODE_BASE, pskIdHash, labeledExtract(NONE, "info_hash", info));
  const secret = labeledExtract(shared, "secret", NONE);
  const key = labeledExpand(secret, "key", context, KEY_BYTES);
  const iv = labeledExpand(secret, "base_nonce", context, NONCE_BYTES);
  return { key, algorithm: { name: "AES-GCM", iv, additionalData: NONE } };
}

/** RFC 9180, section 4. */
function labeledExtract(salt: Bytes, label: string, ikm: Bytes): Bytes {
  return extract(sha256, concat(VERSION, SUITE_ID, utf8(label), ikm), salt);
}

function labeledExpand(secret: Bytes, label: string, info: Bytes, length: number): Bytes {
  return expand(sha256, secret, concat(bigEndian(length, 2), VERSION, SUITE_ID, utf8(label), info), length);
}

function boundInfo(info: Bytes, aad: Bytes): Bytes {
  const bound = encode(["hce/seal/1", info, aad]);
  if (bound.length > MAX_INFO_BYTES) throw new RangeError(`info and aad take ${bound.length} bytes, at most ${MAX_INFO_BYTES}`);
  return bound;
}
