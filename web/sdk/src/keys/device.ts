// Keeping the seed words' entropy on a device between visits: locked under 32 bytes that a passkey gives (WebAuthn PRF), or under a
// passphrase. What is kept is worthless without them; the words on paper remain the only way back when both are lost.

import { type Bytes, concat, utf8 } from "../bytes.ts";
import { Refused } from "../errors.ts";
import { aesKey, decryptOrRefuse } from "./aead.ts";
import { hkdf } from "./derive.ts";
import { type Random, systemRandom } from "./random.ts";
import { SecretBytes } from "./secret.ts";

export const SALT_BYTES = 32;
/** OWASP's figure for PBKDF2-HMAC-SHA256. */
const PBKDF2_ROUNDS = 600_000;
const NONCE_BYTES = 12;
const INFO = utf8("hce/device/1");

/** 32 bytes from a passphrase; about half a second on a phone. `salt` is kept beside the locked secret. */
export async function keyFromPassphrase(passphrase: string, salt: Bytes): Promise<SecretBytes> {
  const key = await crypto.subtle.importKey("raw", utf8(passphrase.normalize("NFKC")), "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations: PBKDF2_ROUNDS };
  return new SecretBytes(new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256)));
}

/** The secret under a key of the device: nonce and ciphertext. The key may lock many times. */
export async function lock(key: SecretBytes, secret: SecretBytes, random: Random = systemRandom): Promise<Bytes> {
  const iv = random(NONCE_BYTES);
  const locked = await crypto.subtle.encrypt(parameters(iv), await aesKey(await hkdf(key, INFO), "encrypt"), secret.reveal());
  return concat(iv, new Uint8Array(locked));
}

/** The secret again; `seal.broken` with another key, or when the stored bytes changed. */
export async function unlock(key: SecretBytes, locked: Bytes): Promise<SecretBytes> {
  if (locked.length < NONCE_BYTES) throw new Refused("seal.broken", "too short");
  const aes = await aesKey(await hkdf(key, INFO), "decrypt");
  return new SecretBytes(await decryptOrRefuse(parameters(locked.slice(0, NONCE_BYTES)), aes, locked.slice(NONCE_BYTES)));
}

function parameters(iv: Bytes): AesGcmParams {
  return { name: "AES-GCM", iv, additionalData: INFO };
}
