// AES-256-GCM with a fixed nonce, for keys that are used exactly once, and the padding that hides lengths.
//
// A KEY GIVEN TO `aeadSeal` MUST NEVER SEAL A SECOND MESSAGE: the nonce is twelve zero bytes, and two messages under one key reveal
// their XOR and let anybody forge a third. Every key here is fresh, or from HKDF over a fresh secret and the thing it seals.

import { type Bytes, concat, equal } from "../bytes.ts";
import { Refused } from "../errors.ts";

export const KEY_BYTES = 32;
/** Smallest padded size: short notes and empty answers look alike. */
export const MIN_PADDED_BYTES = 256;
const NONCE_BYTES = 12;

/** Ciphertext and 16-byte tag. ONE MESSAGE PER KEY, EVER (see the head of this file). */
export async function aeadSeal(key: Bytes, plaintext: Bytes, aad: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.encrypt(parameters(aad), await aesKey(key, "encrypt"), plaintext));
}

/** The plaintext; `seal.broken` when key, aad or any byte differs. */
export async function aeadOpen(key: Bytes, ciphertext: Bytes, aad: Bytes): Promise<Bytes> {
  return decryptOrRefuse(parameters(aad), await aesKey(key, "decrypt"), ciphertext);
}

/** The platform says "it does not fit" in one way only; anything else is a mistake of this program. */
export async function decryptOrRefuse(algorithm: AesGcmParams, key: CryptoKey, ciphertext: Bytes): Promise<Bytes> {
  try {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, ciphertext));
  } catch (error) {
    if (error instanceof DOMException && error.name === "OperationError") throw new Refused("seal.broken", "AES-256-GCM");
    throw error;
  }
}

/** plain + 80 + zeros (ISO/IEC 7816-4) up to `paddedLength`. */
export function pad(plain: Bytes): Bytes {
  return concat(plain, Uint8Array.of(0x80), new Uint8Array(paddedLength(plain.length) - plain.length - 1));
}

/** The inverse of `pad`; `seal.broken` unless `pad` would make exactly these bytes. */
export function unpad(padded: Bytes): Bytes {
  let end = padded.length;
  while (end > 0 && padded[end - 1] === 0) end -= 1;
  const plain = padded.slice(0, Math.max(end - 1, 0));
  if (!equal(pad(plain), padded)) throw new Refused("seal.broken", "padding");
  return plain;
}

/** Padmé (Nikitin et al., PETS 2019): at most 12 % longer, leaks O(log log n) bits; never below MIN_PADDED_BYTES. */
export function paddedLength(plainLength: number): number {
  const needed = Math.max(plainLength + 1, MIN_PADDED_BYTES);
  const exponent = bitLength(needed) - 1;
  const step = 2 ** (exponent - bitLength(exponent));
  return Math.ceil(needed / step) * step;
}

function bitLength(value: number): number {
  return value.toString(2).length;
}

function parameters(aad: Bytes): AesGcmParams {
  return { name: "AES-GCM", iv: new Uint8Array(NONCE_BYTES), additionalData: aad };
}

export function aesKey(raw: Bytes, use: "encrypt" | "decrypt"): Promise<CryptoKey> {
  if (raw.length !== KEY_BYTES) throw new RangeError("an AES-256 key has 32 bytes");
  return crypto.subtle.importKey("raw", raw, "AES-GCM", false, [use]);
}
