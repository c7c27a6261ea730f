import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, fromHex, toHex, utf8 } from "../src/bytes.ts";
import { cidOfDagCbor, cidOfRaw, isNamed } from "../src/codec/cid.ts";
import { decode, encode, type Item } from "../src/codec/dagcbor.ts";
import { commitment, digest, signingBytes } from "../src/codec/hashing.ts";
import { bool, bytes, decodeAs, encodeAs, integer, list, nullable, oneOf, struct, text } from "../src/codec/shape.ts";
import { Malformed } from "../src/errors.ts";
import { itemOf, readJson, readVectors } from "./vectors.ts";

const crypto = readVectors("hce/crypto.json");

test("every frozen value has the frozen bytes, both ways", () => {
  for (const { value, encoded } of crypto.dagCbor) {
    assert.equal(toHex(encode(itemOf(value))), toHex(encoded));
    assert.deepEqual(decode(encoded), itemOf(value));
  }
});

test("what python refuses is refused here", () => {
  const { refused } = readJson("tests/vectors/hce/refused.json") as { refused: string[] };
  for (const spelling of refused) assert.throws(() => decode(fromHex(spelling)), Malformed, spelling);
});

test("nesting has a bound both ways", () => {
  let deepest: Item = 0;
  for (let i = 0; i < 64; i += 1) deepest = [deepest];
  assert.deepEqual(decode(encode(deepest)), deepest);
  assert.throws(() => encode([deepest]), TypeError);
  assert.throws(() => decode(concat(Uint8Array.of(0x81), encode(deepest))), Malformed);
  assert.throws(() => decode(new Uint8Array(1_000_000).fill(0x81)), Malformed);
});

test("what has no encoding is a mistake of the caller", () => {
  for (const value of [1.5, NaN, 2 ** 53, -(2 ** 53), "\ud800", [Infinity]]) assert.throws(() => encode(value), TypeError);
});

test("too much is refused before it is read", () => {
  assert.throws(() => decode(new Uint8Array(101), 100), { code: "too_large" });
});

test("names and hashes are the frozen ones", () => {
  const { of, dagCbor, raw } = crypto.cid;
  assert.deepEqual([cidOfDagCbor(of), cidOfRaw(of)], [dagCbor, raw]);
  assert.ok(isNamed(raw, of) && !isNamed(raw, utf8("y")));
  const { digest: hashed, commitment: committed } = crypto.hashing;
  assert.deepEqual(digest(hashed.domain, ...hashed.parts), hashed.is);
  assert.deepEqual(commitment(committed.domain, committed.body, committed.salt), committed.is);
  const { signing } = crypto;
  assert.deepEqual(signingBytes(signing.what, signing.chain, ...signing.fields), signing.signingBytes);
});

test("a struct is a list of its fields, and its bounds hold after decoding", () => {
  const shape = struct({
    name: text(3, 1),
    digest: bytes(2),
    age: nullable(integer(0, 9)),
    tags: list(oneOf("a", "b"), 2),
    on: bool,
  });
  const value = { name: "文字x", digest: fromHex("0102"), age: null, tags: ["a", "b"] as const, on: true };
  assert.deepEqual(decodeAs(shape, encodeAs(shape, value)), value);
  const good: Item[] = ["x", fromHex("0102"), 3, ["a"], false];
  const bad: Item[][] = [
    [...good, 1],
    good.slice(0, 4),
    good.with(0, ""),
    good.with(0, "four"),
    good.with(1, fromHex("01")),
    good.with(2, 10),
    good.with(2, "3"),
    good.with(3, ["c"]),
    good.with(3, ["a", "a", "a"]),
    good.with(4, 1),
  ];
  for (const item of bad) assert.throws(() => decodeAs(shape, encode(item)), Malformed);
});
