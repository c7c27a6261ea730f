// stdin: a JSON list of [operation, ...arguments]; stdout: the list of answers. Bytes are {"$bytes": "<hex>"} both ways.

import { hkdfSync } from "node:crypto";
import { text } from "node:stream/consumers";
import { Aes256Gcm, CipherSuite, HkdfSha256 } from "../../web/node_modules/@hpke/core/esm/mod.js";
import { XWing } from "../../web/node_modules/@hpke/hybridkem-x-wing/esm/mod.js";
import * as bip39 from "../../web/node_modules/@scure/bip39/index.js";
import { wordlist as english } from "../../web/node_modules/@scure/bip39/wordlists/english.js";
import { wordlist as chinese } from "../../web/node_modules/@scure/bip39/wordlists/simplified-chinese.js";
import { concat, encode, viaLibrary } from "./dagcbor.mjs";
import * as tdh2 from "./tdh2.mjs";

const ENC_BYTES = 1120;
const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const wordlists = { en: english, "zh-CN": chinese };

const operations = {
  xwing_public: async (seed) => {
    await suite.kem.importKey("raw", seed, false); // sets the KEM up, which generateKeyPairDerand does not
    const { publicKey } = await suite.kem.generateKeyPairDerand(seed);
    return new Uint8Array(await suite.kem.serializePublicKey(publicKey));
  },
  seal: async (publicKey, info, plaintext, aad) => {
    const key = await suite.kem.deserializePublicKey(publicKey);
    const sender = await suite.createSenderContext({ recipientPublicKey: key, info: sealInfo(info, aad) });
    return concat(new Uint8Array(sender.enc), new Uint8Array(await sender.seal(plaintext)));
  },
  open: async (seed, info, sealed, aad) => {
    const key = await suite.kem.importKey("raw", seed, false);
    const context = { recipientKey: key, enc: sealed.slice(0, ENC_BYTES), info: sealInfo(info, aad) };
    const recipient = await suite.createRecipientContext(context);
    return new Uint8Array(await recipient.open(sealed.slice(ENC_BYTES)));
  },
  dag_cbor: (value) => encode(value),
  dag_cbor_library: (value) => viaLibrary(value),
  digest: (domain, ...parts) => tdh2.digest(domain, ...parts),
  derive_seed: (root, use, ...path) => {
    const info = encode(["hce/derive/1", use, ...path]);
    return new Uint8Array(hkdfSync("sha256", root, new Uint8Array(32), info, 32));
  },
  base_times: (number) => tdh2.baseTimes(BigInt(number) % tdh2.ORDER),
  is_point: (raw) => tdh2.isPoint(raw),
  element_from: (wide) => tdh2.elementFrom(wide),
  hash_to_scalar_base: (domain, ...parts) => tdh2.baseTimes(tdh2.hashToScalar(domain, ...parts)),
  hash_to_point: (domain, ...parts) => tdh2.hashToPoint(domain, ...parts).toBytes(),
  encapsulate: (publicKey, label, seed) => tdh2.encapsulate(publicKey, label, seed),
  verify_capsule: (publicKey, label, capsule) => tdh2.verifyCapsule(publicKey, label, capsule),
  verify_partial: (memberKey, capsule, partial, transcript) => tdh2.verifyPartial(memberKey, capsule, partial, transcript),
  combine: (capsule, partials, threshold) => tdh2.combine(capsule, partials, threshold),
  words: (entropy, language) => bip39.entropyToMnemonic(entropy, wordlists[language]),
  seed_from_words: (words) => bip39.mnemonicToSeedSync(words),
};

function sealInfo(info, aad) {
  return encode(["hce/seal/1", info, aad]);
}

function revive(_key, value) {
  return value !== null && typeof value === "object" && "$bytes" in value ? Uint8Array.from(Buffer.from(value.$bytes, "hex")) : value;
}

function replace(_key, value) {
  return value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString("hex") } : value;
}

async function answer([operation, ...args]) {
  try {
    return { ok: await operations[operation](...args) };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
}

const answers = [];
for (const request of JSON.parse(await text(process.stdin), revive)) answers.push(await answer(request));
process.stdout.write(JSON.stringify(answers, replace));
