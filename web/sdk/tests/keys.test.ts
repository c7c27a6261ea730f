import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { ristretto255 } from "@noble/curves/ed25519.js";
import { type Bytes, fromHex, toHex, utf8 } from "../src/bytes.ts";
import { sha256 } from "../src/codec/cid.ts";
import { Malformed, Refused } from "../src/errors.ts";
import { aeadOpen, aeadSeal, pad, paddedLength, unpad } from "../src/keys/aead.ts";
import { deriveSeed, hkdf, Root } from "../src/keys/derive.ts";
import { keyFromPassphrase, lock, unlock } from "../src/keys/device.ts";
import { OpeningKey, seal } from "../src/keys/seal.ts";
import { SecretBytes } from "../src/keys/secret.ts";
import { SigningKey, verify } from "../src/keys/sign.ts";
import { entropyFromWords, newWords, seedFromWords, wordsFromEntropy } from "../src/keys/words.ts";
import { hashToPoint, hashToScalar, readPoint, readScalar, scalarBytes, times, GENERATOR } from "../src/threshold/ristretto.ts";
import { combine, encapsulate, gBar, keyIdOf, verifyCapsule, verifyPartial } from "../src/threshold/tdh2.ts";
import { readJson, readVectors } from "./vectors.ts";

const frozen = readVectors("hce/crypto.json");
const secret = (raw: Bytes): SecretBytes => new SecretBytes(raw.slice());

test("ed25519: keys and signatures of the vectors, made and checked", async () => {
  for (const one of readJson("tests/vectors/rfc8032/ed25519.json")) {
    const key = await SigningKey.fromSeed(secret(fromHex(one.secret)));
    const signature = await key.sign(fromHex(one.message));
    assert.deepEqual([toHex(key.public), toHex(signature)], [one.public, one.signature], one.name);
    assert.ok(verify(key.public, fromHex(one.message), signature));
  }
  const { seed, signingBytes, signature } = frozen.signing;
  assert.deepEqual(await (await SigningKey.fromSeed(secret(seed))).sign(signingBytes), signature);
});

test("ed25519: the pinned rule, not the platform's", async () => {
  const key = await SigningKey.fromSeed(new SecretBytes(sha256(utf8("a key"))));
  const message = utf8("message");
  const good = await key.sign(message);
  const changed = (raw: Bytes, at: number): Bytes => raw.with(at, raw[at]! ^ 1) as Bytes;
  assert.ok(!verify(key.public, message, changed(good, 0)));
  assert.ok(!verify(key.public, message, changed(good, 40)));
  assert.ok(!verify(changed(key.public, 3), message, good));
  assert.ok(!verify(key.public, utf8("messagf"), good));
  assert.ok(!verify(key.public.slice(1), message, good) && !verify(key.public, message, good.slice(1)));
  const identity = new Uint8Array(32);
  identity[0] = 1;
  const withSmallOrder = new Uint8Array(64);
  withSmallOrder.set(identity);
  assert.ok(!verify(identity, message, withSmallOrder), "R = A = identity, S = 0 fits every message without the rule");
});

const SUITES = process.env["HCE_SUITES"] ?? "";

test("ed25519: the public speccheck cases", { skip: SUITES === "" && "HCE_SUITES names no folder" }, () => {
  const cases = readJson(`${SUITES}/ed25519-speccheck/cases.json`) as { message: string; pub_key: string; signature: string }[];
  const accepted = cases.map((one) => verify(fromHex(one.pub_key), fromHex(one.message), fromHex(one.signature)));
  assert.deepEqual(
    accepted,
    cases.map((_, number) => number === 3),
  );
});

test("ed25519: wycheproof", { skip: SUITES === "" && "HCE_SUITES names no folder" }, () => {
  for (const { publicKey, tests } of readJson(`${SUITES}/wycheproof/ed25519_test.json`).testGroups) {
    for (const { tcId, msg, sig, result } of tests) {
      assert.equal(verify(fromHex(publicKey.pk), fromHex(msg), fromHex(sig)), result === "valid", `case ${tcId}`);
    }
  }
});

test("private keys are the platform's where it has ed25519", async () => {
  const seed = new SecretBytes(sha256(utf8("seed")));
  const key = await SigningKey.fromSeed(seed);
  assert.ok(key.isPlatformKey);
  assert.throws(() => seed.reveal(), /wiped/);
});

test("the root cannot be read back, and derives the frozen seeds", async () => {
  const { root: raw, deriveSeed: derived, hkdf: expanded } = frozen.derive;
  const seed = secret(raw);
  const root = await Root.fromSeed(seed);
  assert.throws(() => seed.reveal(), /wiped/);
  assert.equal(root.key.extractable, false);
  await assert.rejects(crypto.subtle.exportKey("raw", root.key));
  for (const { use, path, seed: expected } of derived) {
    assert.deepEqual((await root.derive(use, ...path)).reveal(), expected);
    assert.deepEqual((await deriveSeed(secret(raw), use, ...path)).reveal(), expected);
  }
  assert.deepEqual(await hkdf(secret(expanded.secret), expanded.info, expanded.length), expanded.is);
});

test("hkdf: RFC 5869 where the salt is empty", async () => {
  const one = readJson("tests/vectors/rfc5869/hkdf_sha256.json").find((vector: { salt: string }) => vector.salt === "");
  assert.equal(toHex(await hkdf(secret(fromHex(one.ikm)), fromHex(one.info), one.okm.length / 2)), one.okm);
});

test("words: frozen sentences and seeds in both languages", async () => {
  for (const { entropy, language, words, seed } of frozen.words) {
    assert.equal(await wordsFromEntropy(entropy, language), words);
    assert.deepEqual((await entropyFromWords(words)).reveal(), entropy);
    assert.deepEqual((await seedFromWords(words)).reveal(), seed);
    const untidy = language === "en" ? `  ${words.toUpperCase().replaceAll(" ", "\n ")} ` : words.replaceAll(" ", "");
    assert.deepEqual((await seedFromWords(untidy)).reveal(), seed);
  }
});

test("words: what is no sentence is refused, and not repeated", async () => {
  const words = await newWords("en");
  const wrong = [words.replace(/^\w+/, "zzzz"), words.split(" ").slice(1).join(" "), "", "abandon ".repeat(12), "的 ".repeat(12)];
  for (const one of wrong) {
    await assert.rejects(entropyFromWords(one), (error: Error) => {
      assert.ok(error instanceof Malformed && error.code === "words.invalid");
      return !words.split(" ").some((word) => error.message.includes(word));
    });
  }
});

test("aead and padding: frozen bytes; any change is refused", async () => {
  const { key, aad, plaintext, sealed, sealedPaddedSha256, paddedLengths } = frozen.aead;
  assert.deepEqual(await aeadSeal(key, plaintext, aad), sealed);
  assert.deepEqual(sha256(await aeadSeal(key, pad(plaintext), aad)), sealedPaddedSha256);
  for (const [length, padded] of paddedLengths) assert.equal(paddedLength(length), padded);
  await assert.rejects(aeadOpen(key, sealed, utf8("other")), { code: "seal.broken" });
  for (const plain of ["", "x", "x\u0080\u0000\u0000", "y".repeat(300)].map(utf8)) assert.deepEqual(unpad(pad(plain)), plain);
  for (const bad of [new Uint8Array(256), utf8("x"), new Uint8Array(0), pad(utf8("x")).slice(1)]) {
    assert.throws(() => unpad(bad), { code: "seal.broken" });
  }
});

test("x-wing: the draft's keys, the frozen message, and our own", async () => {
  for (const one of readJson("tests/vectors/xwing-draft/keys.json")) {
    assert.equal(toHex(sha256(new OpeningKey(secret(fromHex(one.seed))).public)), one.public_sha256);
  }
  const { seed, public: expected, info, aad, plaintext, sealed } = frozen.seal;
  const key = new OpeningKey(secret(seed));
  assert.deepEqual(key.public, expected);
  assert.deepEqual(await key.open(info, sealed, aad), plaintext);
  assert.deepEqual(await key.open(info, await seal(key.public, info, plaintext, aad), aad), plaintext);
  const bent = sealed.slice();
  bent[5] ^= 1;
  for (const [label, box, header] of [
    [info, sealed, utf8("")],
    [aad, sealed, aad],
    [info, sealed.slice(0, 900), aad],
    [info, bent, aad],
  ]) {
    await assert.rejects(key.open(label, box, header), { code: "seal.broken" });
  }
});

test("x-wing: nobody seals to what is no key", async () => {
  const { public: good } = new OpeningKey(secret(frozen.seal.seed));
  const smallOrder = good.slice();
  smallOrder.fill(0, 1184);
  const outOfRange = good.slice();
  outOfRange.fill(0xff, 0, 3);
  for (const bad of [good.slice(1), smallOrder, outOfRange]) {
    await assert.rejects(seal(bad, utf8("info"), utf8("text")), { code: "seal.bad_key" });
  }
});

test("ristretto255: the RFC's multiples, frozen hashes, and what is no point", () => {
  const { multiples_of_the_generator: multiples } = readJson("tests/vectors/rfc9496/ristretto255.json");
  multiples.slice(1).forEach((encoded: string, i: number) => {
    assert.equal(toHex(times(GENERATOR, BigInt(i + 1)).toBytes()), encoded);
    assert.ok(readPoint(fromHex(encoded)));
  });
  assert.throws(() => readPoint(fromHex(multiples[0])), { code: "threshold.bad_point" });
  const { domain, parts, hashToScalar: scalar, timesGenerator, hashToPoint: point, secondGenerator } = frozen.ristretto255;
  assert.deepEqual(scalarBytes(hashToScalar(domain, ...parts)), scalar);
  assert.deepEqual(times(GENERATOR, hashToScalar(domain, ...parts)).toBytes(), timesGenerator);
  assert.deepEqual(hashToPoint(domain, ...parts).toBytes(), point);
  assert.deepEqual(gBar().toBytes(), secondGenerator);
  assert.throws(() => readScalar(scalarBytes(ristretto255.Point.Fn.ORDER)), { code: "threshold.bad_point" });
});

test("tdh2: the frozen capsule and parts; liars and strangers are told", () => {
  const { publicKey, keyId, label, capsuleSeed, ssB, transcript, memberKeys } = frozen.tdh2;
  const capsule = named(frozen.tdh2.capsule);
  const parts = frozen.tdh2.partials.map(([index, value, e, f]: [number, Bytes, Bytes, Bytes]) => ({ index, value, e, f }));
  assert.deepEqual(keyIdOf(publicKey), keyId);
  assert.deepEqual(encapsulate(publicKey, label, capsuleSeed), { capsule, shared: ssB });
  assert.ok(verifyCapsule(publicKey, label, capsule));
  assert.ok(!verifyCapsule(publicKey, utf8("another"), capsule));
  for (const part of parts) assert.ok(verifyPartial(memberKeys[part.index], capsule, part, transcript));
  assert.ok(!verifyPartial(memberKeys[0], capsule, parts[1], transcript));
  assert.ok(!verifyPartial(memberKeys[0], capsule, parts[0], utf8("another")));
  assert.deepEqual(combine(capsule, parts.slice(1), 3), ssB);
  assert.deepEqual(combine(capsule, [parts[3], parts[0], parts[2]], 3), ssB);
  assert.throws(() => combine(capsule, parts.slice(0, 2), 3), { code: "threshold.not_enough" });
  assert.throws(() => combine(capsule, [parts[0], parts[0], parts[1]], 3), { code: "threshold.not_enough" });
});

test("a secret does not show itself", () => {
  const hidden = new SecretBytes(fromHex("abcdef"));
  for (const shown of [String(hidden), JSON.stringify({ hidden }), inspect(hidden), inspect({ hidden }, { depth: 9 })]) {
    assert.ok(!/ab.?cd|171/i.test(shown), shown);
  }
  hidden.wipe();
  assert.throws(() => hidden.reveal(), /wiped/);
});

test("a device keeps the entropy under a key of its own", async () => {
  const [entropy, key] = [new SecretBytes(sha256(utf8("entropy"))), new SecretBytes(sha256(utf8("prf")))];
  const locked = await lock(key, entropy);
  assert.ok((await unlock(key, locked)).equals(entropy));
  await assert.rejects(unlock(new SecretBytes(sha256(utf8("other"))), locked), Refused);
  assert.notDeepEqual(await lock(key, entropy), locked);
  const phrase = await keyFromPassphrase("long enough", new Uint8Array(32));
  assert.equal(phrase.length, 32);
});

function named([c, u, uBar, e, f]: [Bytes, Bytes, Bytes, Bytes, Bytes]): { c: Bytes; u: Bytes; uBar: Bytes; e: Bytes; f: Bytes } {
  return { c, u, uBar, e, f };
}
