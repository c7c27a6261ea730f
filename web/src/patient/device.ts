// What stays on this device between visits, in IndexedDB: the locked entropy behind the seed words, and a locked memory of grants.
//
// Without the passkey or the passphrase both are noise. Nothing here is ever in localStorage, in the address, or in a log.

import {
  type Bytes,
  entropyFromWords,
  HceError,
  keyFromPassphrase,
  lock,
  Refused,
  SALT_BYTES,
  SecretBytes,
  systemRandom,
  unlock,
  wordsFromEntropy,
} from "../../sdk/src/index.ts";
import type { Language } from "../app/preferences.ts";
import { inStore } from "../app/here.ts";
import { askPasskey, makePasskey } from "./passkey.ts";

export type Lock =
  | { readonly how: "passphrase"; readonly salt: Bytes }
  | { readonly how: "passkey"; readonly salt: Bytes; readonly credential: Bytes };

/** As it lies on the device. `language` is that of the words: the same entropy in the other language is another account. */
export interface Kept {
  readonly language: Language;
  readonly lock: Lock;
  readonly locked: Bytes;
}

/** Of the network with this genesis; null when none is kept here. */
export async function keptFor(genesis: string): Promise<Kept | null> {
  return ((await inStore("readonly", (store) => store.get(`account/${genesis}`))) as Kept | undefined) ?? null;
}

export async function keepWithPassphrase(genesis: string, words: string, language: Language, passphrase: string): Promise<void> {
  const salt = systemRandom(SALT_BYTES);
  await keep(genesis, words, language, { how: "passphrase", salt }, await keyFromPassphrase(passphrase, salt));
}

/** False when the browser or its authenticator gives no secret for passkeys: then a passphrase is the way. */
export async function keepWithPasskey(genesis: string, words: string, language: Language, label: string): Promise<boolean> {
  const salt = systemRandom(SALT_BYTES);
  const made = await makePasskey(salt, label);
  if (made === null) return false;
  await keep(genesis, words, language, { how: "passkey", salt, credential: made.credential }, made.key);
  return true;
}

/** The words again. `unlock.wrong` for another passphrase or passkey. */
export async function wordsOf(kept: Kept, passphrase: string): Promise<string> {
  const { lock: how } = kept;
  const key = how.how === "passphrase" ? await keyFromPassphrase(passphrase, how.salt) : await askPasskey(how.credential, how.salt);
  const entropy = await unlocked(key, kept.locked);
  const words = await wordsFromEntropy(entropy.reveal(), kept.language);
  entropy.wipe();
  key.wipe();
  return words;
}

async function unlocked(key: SecretBytes, locked: Bytes): Promise<SecretBytes> {
  try {
    return await unlock(key, locked);
  } catch (error) {
    throw error instanceof HceError && error.code === "seal.broken" ? new Refused("unlock.wrong") : error;
  }
}

/** Takes the account off this device; the words on paper find it again. */
export async function forget(genesis: string): Promise<void> {
  await inStore("readwrite", (store) => store.delete(`account/${genesis}`));
  await inStore("readwrite", (store) => store.delete(IDBKeyRange.bound(`memory/${genesis}/`, `memory/${genesis}/~`)));
}

/** What `keepMemory` kept for this account, opened; null when there is none. */
export async function memoryOf(genesis: string, account: string, key: SecretBytes): Promise<Bytes | null> {
  const locked = (await inStore("readonly", (store) => store.get(`memory/${genesis}/${account}`))) as Bytes | undefined;
  return locked === undefined ? null : (await unlock(key, locked)).reveal();
}

export async function keepMemory(genesis: string, account: string, key: SecretBytes, content: Bytes): Promise<void> {
  const locked = await lock(key, new SecretBytes(content));
  await inStore("readwrite", (store) => store.put(locked, `memory/${genesis}/${account}`));
}

async function keep(genesis: string, words: string, language: Language, how: Lock, key: SecretBytes): Promise<void> {
  const entropy = await entropyFromWords(words);
  const kept: Kept = { language, lock: how, locked: await lock(key, entropy) };
  entropy.wipe();
  key.wipe();
  await inStore("readwrite", (store) => store.put(kept, `account/${genesis}`));
}
