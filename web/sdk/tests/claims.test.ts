// Cards, claims and handovers, against what Python froze (`tests/vectors/hce/claims.json`).

import assert from "node:assert/strict";
import test from "node:test";
import { equal } from "../src/bytes.ts";
import { decodeAs, encodeAs } from "../src/codec/shape.ts";
import { explain } from "../src/human/explain.ts";
import { sentence } from "../src/human/sentence.ts";
import { CompartmentKeys } from "../src/keys/compartments.ts";
import { Root } from "../src/keys/derive.ts";
import { SecretBytes } from "../src/keys/secret.ts";
import { SignedClaimShape } from "../src/terms/claims.ts";
import { logAddress, MAX_EPOCH_KEYS } from "../src/terms/grants.ts";
import { type SignedHandover, SignedHandoverShape } from "../src/terms/handovers.ts";
import { cardKey, makeClaim } from "../src/vault/claiming.ts";
import { makeHandover, openEarlier, sealEarlier, verifyHandover } from "../src/vault/handovers.ts";
import { type Loose, readVectors } from "./vectors.ts";

const frozen: Loose = readVectors("hce/claims.json");
const { chain, compartmentId } = frozen;

async function own(openedAs = compartmentId): Promise<CompartmentKeys> {
  return CompartmentKeys.open(await Root.fromSeed(new SecretBytes(frozen.ownSeed.slice())), 0, openedAs);
}

function frozenHandover(): SignedHandover {
  return decodeAs(SignedHandoverShape, frozen.handover);
}

test("a card's code makes the frozen key, however it is typed", async () => {
  const typed = frozen.code.toLowerCase().replaceAll("-", " ").replaceAll("0", "o").replaceAll("1", "l");
  for (const code of [frozen.code, typed]) assert.deepEqual((await cardKey(code)).public, frozen.cardKey);
  const plain: string = frozen.code.replaceAll("-", "");
  for (const wrong of ["", "hello", plain.slice(1), `${plain}0`, plain.replace(plain[3]!, plain[3] === "A" ? "B" : "A")]) {
    await assert.rejects(cardKey(wrong), { code: "claim.code_unreadable" });
  }
});

test("a claim is the frozen one, signed by both keys", async () => {
  const made = await makeClaim(await own(), await cardKey(frozen.code), chain, frozen.orgId);
  assert.deepEqual(encodeAs(SignedClaimShape, made), frozen.claim);
});

test("what Python handed over opens, and is handed over again in the same bytes", async () => {
  const keys = await own();
  const signed = frozenHandover();
  const { earlier, sealed, issuedMs } = verifyHandover(signed, chain, keys.owner.public, (await keys.logRead()).public);
  const [before, ...others] = await openEarlier(keys, chain, compartmentId, earlier, sealed);
  assert.equal(others.length, 0);
  assert.deepEqual(before!.seed.seed, frozen.custodialSeed);
  assert.deepEqual(before!.keys.owner.public, earlier[0]!.ownerKey);
  const again = await makeHandover(keys, chain, earlier, sealed, issuedMs);
  assert.deepEqual(encodeAs(SignedHandoverShape, again), frozen.handover);
  assert.deepEqual(logAddress(signed.handover.logReadKey, signed.handover.ownerKey), frozen.handoverAddress);
});

test("keys of somebody else are noticed", async () => {
  const keys = await own();
  const { earlier } = frozenHandover().handover;
  const stranger = { seed: new Uint8Array(64).fill(7), index: 0 };
  const root = (await keys.root()).public;
  const seal = (...seeds: (typeof stranger)[]) => sealEarlier(root, chain, compartmentId, seeds);
  const custodial = { seed: frozen.custodialSeed, index: 0 };
  const gap = [{ ...earlier[0]!, firstEpoch: 1, lastEpoch: 1 }];
  const strange = await CompartmentKeys.open(await Root.fromSeed(new SecretBytes(stranger.seed.slice())));
  const theirs = [{ ownerKey: strange.owner.public, firstEpoch: 0, lastEpoch: 0 }];
  for (const [owners, sealed] of [
    [earlier, await seal(stranger)],
    [earlier, await seal(custodial, stranger)],
    [gap, await seal(custodial)],
    [theirs, await seal(stranger)],
    [earlier, new Uint8Array(1_200)],
  ] as const) {
    await assert.rejects(openEarlier(keys, chain, compartmentId, owners, sealed), { code: "handover.invalid" });
  }
});

test("nobody hands over more feeds than their owner can follow", async () => {
  const keys = await own();
  const { earlier, sealed } = frozenHandover().handover;
  const upTo = (lastEpoch: number) => [{ ...earlier[0]!, lastEpoch }];
  const [before] = await openEarlier(keys, chain, compartmentId, upTo(MAX_EPOCH_KEYS - 2), sealed);
  assert.equal(before!.lastEpoch, MAX_EPOCH_KEYS - 2);
  for (const last of [MAX_EPOCH_KEYS - 1, 1e9]) {
    await assert.rejects(openEarlier(keys, chain, compartmentId, upTo(last), sealed), { code: "handover.invalid" });
    await assert.rejects(makeHandover(keys, chain, upTo(last), sealed, 0), { code: "handover.invalid" });
  }
});

test("a forged handover is refused", async () => {
  const keys = await own();
  const signed = frozenHandover();
  const logRead = (await keys.logRead()).public;
  for (const bad of [
    { ...signed, signature: new Uint8Array(64) },
    { ...signed, handover: { ...signed.handover, issuedMs: signed.handover.issuedMs + 1 } },
    { ...signed, handover: { ...signed.handover, chain: new Uint8Array(16) } },
  ]) {
    assert.throws(() => verifyHandover(bad, chain, keys.owner.public, logRead), { code: "handover.invalid" });
  }
  assert.throws(() => verifyHandover(signed, chain, logRead, logRead), { code: "handover.invalid" });
});

test("everything an owner signs is said in Python's words, from the bytes that are signed", () => {
  for (const one of frozen.sentences) {
    for (const language of ["en", "zh-CN"] as const) {
      assert.equal(
        sentence(explain(one.signed), language, () => "Hospital West"),
        one[language],
      );
    }
  }
  assert.ok(!equal(frozen.sentences[0].signed, frozen.sentences[1].signed));
});
