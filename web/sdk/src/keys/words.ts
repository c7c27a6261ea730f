// Seed words (BIP-39), English and simplified Chinese: what a person writes on paper and finds every key again with. The same rules
// as `src/hce/foundation/crypto/words.py`. A word list is loaded when it is first needed.

import { entropyToMnemonic, mnemonicToEntropy, mnemonicToSeedWebcrypto } from "@scure/bip39";
import type { Bytes } from "../bytes.ts";
import { Malformed } from "../errors.ts";
import { type Random, systemRandom } from "./random.ts";
import { SecretBytes } from "./secret.ts";

export type Language = "en" | "zh-CN";
export const LANGUAGES: readonly Language[] = ["en", "zh-CN"];
/** 128 or 256 bits: 12 or 24 words. */
const ENTROPY_BYTES = [16, 32];
const WORD_COUNTS = [12, 24];

/** All 2,048 words of a language, for a screen that helps typing them. */
export async function wordlist(language: Language): Promise<readonly string[]> {
  const found = await (language === "en"
    ? import("@scure/bip39/wordlists/english.js")
    : import("@scure/bip39/wordlists/simplified-chinese.js"));
  return found.wordlist;
}

/** Fresh words: 12 unless more are asked for. */
export function newWords(language: Language, entropyBytes = 16, random: Random = systemRandom): Promise<string> {
  return wordsFromEntropy(random(entropyBytes), language);
}

/** The sentence for 16 or 32 bytes of entropy, words separated by one space. */
export async function wordsFromEntropy(entropy: Bytes, language: Language): Promise<string> {
  if (!ENTROPY_BYTES.includes(entropy.length)) throw new RangeError("seed words hold 16 or 32 bytes of entropy");
  return entropyToMnemonic(entropy, [...(await wordlist(language))]);
}

/** The entropy behind a sentence in either language; `words.invalid` for an unknown word, a wrong count or checksum. */
export async function entropyFromWords(text: string): Promise<SecretBytes> {
  const words = split(text);
  const known = await wordlistOf(words);
  if (!WORD_COUNTS.includes(words.length)) throw invalid("count");
  try {
    return new SecretBytes(mnemonicToEntropy(words.join(" "), [...known]));
  } catch {
    throw invalid("checksum"); // language and count are right, so nothing else is left
  }
}

/** 64-byte BIP-39 seed (PBKDF2-HMAC-SHA512, 2,048 rounds, empty passphrase); the sentence is checked first. */
export async function seedFromWords(text: string): Promise<SecretBytes> {
  (await entropyFromWords(text)).wipe();
  return new SecretBytes(await mnemonicToSeedWebcrypto(split(text).join(" ")));
}

/** Words in NFKD and lower case. Chinese words are single characters and may be written without spaces. */
function split(text: string): string[] {
  const plain = text.normalize("NFKD").toLowerCase();
  const characters = [...plain].filter((character) => !/\s/u.test(character));
  if (characters.every((character) => character.codePointAt(0)! >= 0x4e00)) return characters;
  return plain.split(/\s+/u).filter(Boolean);
}

async function wordlistOf(words: readonly string[]): Promise<readonly string[]> {
  for (const language of LANGUAGES) {
    const known = await wordlist(language);
    if (words.length > 0 && words.every((word) => known.includes(word))) return known;
  }
  throw invalid("language");
}

/** Never says which words were given. */
function invalid(detail: string): Malformed {
  return new Malformed(detail, {}, "words.invalid");
}
