import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, fromHex, toHex, utf8 } from "../src/bytes.ts";
import { decodeAs } from "../src/codec/shape.ts";
import { contentOf, disperse, ladder, place, readManifest } from "../src/hcefs/manifest.ts";
import { decodeShards, encodeShards } from "../src/hcefs/erasure.ts";
import { MapProofShape, verifyMapProof } from "../src/proofs/authmap.ts";
import { leafHash, ListProofShape, listRoot, sealedRoot, verifyListProof } from "../src/proofs/listhash.ts";
import { readJson, readVectors } from "./vectors.ts";

const frozen = readVectors("hce/proofs.json");
const erasure = readVectors("hce/erasure.json");

test("list roots and proofs are the frozen ones, and prove nothing else", () => {
  for (const { items, root, proofs } of frozen.lists) {
    assert.deepEqual(listRoot(items), root);
    proofs.forEach((raw: Uint8Array<ArrayBuffer>, i: number) => {
      const proof = decodeAs(ListProofShape, raw);
      assert.ok(verifyListProof(root, items[i], proof));
      assert.ok(!verifyListProof(root, concat(items[i], utf8("x")), proof));
      assert.ok(!verifyListProof(root, items[i], { ...proof, count: proof.count + 1 }));
      assert.ok(
        !verifyListProof(root, items[i], { ...proof, index: (i + 1) % items.length, count: items.length }) || items.length === 1,
      );
      assert.ok(!verifyListProof(root, items[i], { ...proof, path: [...proof.path, root] }));
      if (proof.path.length > 0) assert.ok(!verifyListProof(root, items[i], { ...proof, path: proof.path.slice(1) }));
    });
  }
});

test("tree heads are those of RFC 6962's reference implementation", () => {
  const { leaves, empty, heads } = readJson("tests/vectors/rfc6962/tree.json");
  assert.deepEqual(listRoot([]), sealedRoot(0, fromHex(empty)));
  heads.forEach((head: string, i: number) => {
    assert.deepEqual(listRoot(leaves.slice(0, i + 1).map(fromHex)), sealedRoot(i + 1, fromHex(head)));
  });
  assert.equal(toHex(leafHash(fromHex(leaves[0]))), heads[0]);
});

test("presence and every kind of absence are proven, and nothing else", () => {
  for (const { root, proofs } of frozen.maps) {
    for (const { key, value, proof: raw } of proofs) {
      const proof = decodeAs(MapProofShape, raw);
      assert.ok(verifyMapProof(root, key, value, proof));
      assert.ok(!verifyMapProof(root, key, value === null ? utf8("") : null, proof));
      assert.ok(!verifyMapProof(root, key, utf8("another"), proof));
      if (value !== null) assert.ok(!verifyMapProof(root, utf8("another key"), value, proof));
      assert.ok(!verifyMapProof(root, key, value, { ...proof, siblings: [...proof.siblings.slice(1), root] }));
      assert.ok(!verifyMapProof(root, key, value, { ...proof, count: proof.count + 1 }) || proof.members.length === 0);
    }
  }
});

test("shards are the frozen ones, and any k of them give the content", () => {
  for (const { k, m, data, shards } of erasure.codes) {
    assert.deepEqual(encodeShards(data, k, m), shards);
    const last = new Map<number, Uint8Array<ArrayBuffer>>();
    for (let number = k + m - 1; last.size < k; number -= 1) last.set(number, shards[number]);
    assert.deepEqual(decodeShards(last, k, data.length), data);
    last.delete(k + m - 1);
    assert.throws(() => decodeShards(last, k, data.length), { code: "erasure.too_few_shards" });
  }
});

test("shards lie at the frozen nodes", () => {
  for (const { chain, ciphertext, k, m, n, nodes } of erasure.placements) {
    assert.deepEqual(ladder(n), { k, m });
    assert.deepEqual(place(chain, ciphertext, k + m, n), nodes);
  }
});

test("a manifest of another chain is refused; shards of another content are told", () => {
  const placement = readVectors("hce/records.json").record.placement;
  const chain = frozen.chain ?? erasure.placements[0].chain;
  assert.equal(readManifest(placement, chain).length, 1);
  assert.throws(() => readManifest(placement, new Uint8Array(16)), { code: "placement.invalid" });
  const [one, other] = [disperse(utf8("one content"), 4), disperse(utf8("two content"), 4)];
  const placed = { ...one.placed, k: 2, nodes: [0, 1, 2, 3] };
  assert.deepEqual(
    contentOf(
      placed,
      new Map([
        [1, one.shards[1]!],
        [3, one.shards[3]!],
      ]),
    ),
    utf8("one content"),
  );
  assert.throws(
    () =>
      contentOf(
        placed,
        new Map([
          [1, one.shards[1]!],
          [3, other.shards[3]!],
        ]),
      ),
    { code: "blob.miscoded" },
  );
});
