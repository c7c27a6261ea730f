// One record sealed, granted, released and opened as in `tests/vectors/hce/records.json`, with every value on the way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, toHex, utf8 } from "../src/bytes.ts";
import { cidOfDagCbor, sha256 } from "../src/codec/cid.ts";
import { decodeAs, encodeAs } from "../src/codec/shape.ts";
import { CompartmentKeys } from "../src/keys/compartments.ts";
import { Root } from "../src/keys/derive.ts";
import { OpeningKey } from "../src/keys/seal.ts";
import { SecretBytes } from "../src/keys/secret.ts";
import { SigningKey } from "../src/keys/sign.ts";
import { seedFromWords } from "../src/keys/words.ts";
import {
  AccessBodyShape,
  AccessRequestShape,
  feedAddress,
  GrantBodyShape,
  logAddress,
  ReleaseRequestShape,
} from "../src/terms/grants.ts";
import { entriesHash, envelopesRoot, orgIdOf } from "../src/terms/payloads.ts";
import { capsuleLabel, headerBytes, makeHeader, OpeningShape, type RecordHeader } from "../src/terms/records.ts";
import { HealthReader, type RecordState, stateKey } from "../src/terms/states.ts";
import { audit, readReceipts } from "../src/vault/auditing.ts";
import { makeCard, makeToken, verifyCard, verifyToken } from "../src/vault/cards.ts";
import * as granting from "../src/vault/granting.ts";
import * as locks from "../src/vault/locks.ts";
import * as opening from "../src/vault/opening.ts";
import { AuthoringSession, makeBatch } from "../src/vault/sealing.ts";
import { GENERATOR, readPoint, scalarBytes, times } from "../src/threshold/ristretto.ts";
import { keyIdOf } from "../src/threshold/tdh2.ts";
import { drawn, type Loose, readVectors } from "./vectors.ts";

const frozen = readVectors("hce/records.json");
const { chain, people, record, keyholders, grant, access, release } = frozen;
const NOW_MS = 1_760_000_000_000;
const DAY_MS = 86_400_000;
const recordId: Bytes = record.recordId;

const keyOf = (name: string): Promise<SigningKey> => SigningKey.fromSeed(new SecretBytes(sha256(utf8(name))));
const patient = async (): Promise<CompartmentKeys> => CompartmentKeys.open(await Root.fromSeed(await seedFromWords(people.words)));
const state: RecordState = {
  orgId: new Uint8Array(32),
  envelopeDigest: record.entry.envelopeDigest,
  keyCommitment: record.entry.keyCommitment,
  policyCommitment: record.entry.policyCommitment,
  placement: record.placementCid,
  height: 10,
  timeMs: NOW_MS,
};
const header: RecordHeader = makeHeader(chain, recordId, record.entry.policyCommitment, keyholders.state.keyId);

async function session(): Promise<opening.OpenedSession> {
  const reading = await (await patient()).reading(0);
  return opening.readSession(reading, record.sessionEntry, chain, people.compartmentId, 0);
}

test("the words give every key of the compartment", async () => {
  const keys = await patient();
  const nonce = grant.body.nonce;
  assert.deepEqual(
    {
      owner: keys.owner.public,
      recovery: keys.recovery.public,
      root: (await keys.root()).public,
      readingSeed0: (await keys.readingSeed(0)).reveal(),
      reading0: (await keys.reading(0)).public,
      readingSeed1: (await keys.readingSeed(1)).reveal(),
      feed0: (await keys.feed(0)).public,
      log: (await keys.log()).public,
      logRead: (await keys.logRead()).public,
      revoke: (await keys.revoke(nonce)).public,
    },
    people.keys,
  );
  assert.deepEqual(keys.compartmentId(chain), people.compartmentId);
  assert.deepEqual([keys.ownerDigest, keys.recoveryDigest], [people.ownerDigest, people.recoveryDigest]);
  assert.deepEqual(feedAddress(people.keys.feed0, people.keys.owner), people.feedAddress);
  assert.deepEqual(logAddress(people.keys.logRead, people.keys.owner), people.logAddress);
});

test("card and token are signed and checked as frozen", async () => {
  const keys = await patient();
  const card = await makeCard(keys, chain, 0, 0, NOW_MS);
  assert.deepEqual(card, people.card);
  verifyCard(card, chain, NOW_MS, people.ownerDigest);
  for (const late of [NOW_MS + 31 * DAY_MS, NOW_MS - DAY_MS]) {
    assert.throws(() => verifyCard(card, chain, late, people.ownerDigest), { code: "card.invalid" });
  }
  assert.throws(() => verifyCard(card, chain, NOW_MS, people.recoveryDigest), { code: "card.invalid" });
  const { orgId, serial, expiresMs } = people.token.token;
  const token = await makeToken(keys, chain, orgId, 0, serial, expiresMs);
  assert.deepEqual(token, people.token);
  verifyToken(token, chain, orgId, card.card, NOW_MS);
  assert.throws(() => verifyToken(token, chain, people.ownerDigest, card.card, NOW_MS), { code: "token.invalid" });
  assert.throws(() => verifyToken(token, chain, orgId, card.card, expiresMs), { code: "token.invalid" });
});

test("an author seals to the frozen bytes", async () => {
  const secret = (raw: Bytes): SecretBytes => new SecretBytes(raw.slice());
  const sessionLocks = {
    sessionSecret: secret(record.sessionSecret),
    ownerSecret: secret(record.ownerSecret),
    lockA: frozen.drawn.lockA,
    ownerLock: frozen.drawn.ownerLock,
  };
  const by = {
    chain,
    orgId: orgIdOf(chain, (await keyOf("organisation")).public),
    credentialId: record.policy.author,
    authorKey: await keyOf("author"),
    card: people.card.card,
    keyholders: keyholders.state,
  };
  const authoring = new AuthoringSession(by, sessionLocks, drawn(record.nonce, record.policy.salt, record.dek, record.seedB));
  const { items, kind, parents, createdMs } = record.manifest;
  const sealed = await authoring.seal({ items, kind, date: record.policy.date, createdMs, parents });
  assert.deepEqual(sealed.recordId, recordId);
  assert.deepEqual(sealed.policy, record.policy);
  assert.deepEqual(sealed.ciphertext, record.ciphertext);
  assert.deepEqual(sealed.envelope, record.envelope);
  assert.deepEqual(sealed.ownerWrap, record.ownerWrap);
  assert.deepEqual(sealed.entry, record.entry);
  assert.deepEqual(sealed.authorSignature, record.authorSignature);
  const batch = await makeBatch([authoring], 1);
  assert.deepEqual(batch.placement, record.placement);
  assert.deepEqual(batch.placementCid, cidOfDagCbor(record.placement));
  assert.deepEqual(batch.feedWrites[0]!.sessionEntry, record.sessionEntry);
  assert.deepEqual(envelopesRoot(batch.records.map((one) => one.entry)), record.envelopesRoot);
  assert.deepEqual(batch.shardsOf(0), [record.ciphertext]);
});

test("what cannot be sealed is refused before anything is", async () => {
  const by: Loose = {
    chain,
    orgId: chain,
    credentialId: recordId,
    authorKey: await keyOf("author"),
    card: people.card.card,
    keyholders: keyholders.state,
  };
  const authoring = await AuthoringSession.begin(by);
  const item = { name: "x", mediaType: "text/plain", content: utf8("x") };
  const good = { items: [item], kind: "note", date: "2025-02-28", createdMs: NOW_MS };
  await assert.rejects(authoring.seal({ ...good, date: "2025-02-30" }), { code: "malformed" });
  await assert.rejects(authoring.seal({ ...good, kind: "Note" }), { code: "malformed" });
  await assert.rejects(authoring.seal({ ...good, items: [] }), { code: "malformed" });
  const big = { ...item, content: new Uint8Array((1 << 20) + 1) };
  await assert.rejects(authoring.seal({ ...good, items: [big] }), { code: "record.too_large" });
  assert.equal(authoring.pending.length, 0);
});

test("the owner opens the record without the keyholders, both locks checked", async () => {
  const opened = await session();
  assert.deepEqual(
    opened.openings.map((one) => one.recordId),
    [recordId],
  );
  const [{ opening: found }] = opened.openings as Loose;
  assert.deepEqual(found, record.opening);
  assert.deepEqual(
    headerBytes(opening.checkRecord(chain, keyholders.state.keyId, recordId, state, found, record.envelope)),
    record.headerBytes,
  );
  const root = await (await patient()).root();
  const secret = await opening.openOwnerLock(root, opened, chain, people.compartmentId);
  const mine = await opening.ownerOpen(secret, record.ownerWrap, header);
  assert.deepEqual([mine.dek.reveal(), mine.seedB.reveal()], [record.dek, record.seedB]);
  await opening.ownerChecksBothLocks(mine, record.ownerWrap, opened, header, record.envelope, state, keyholders.state);
  opening.checkCiphertext(header, found, record.ciphertext);
  const manifest = await opening.openRecord(mine.dek, record.ciphertext, header, state.keyCommitment);
  assert.deepEqual(manifest, record.manifest);
});

test("every value between the locks is the frozen one", async () => {
  const opened = await session();
  assert.deepEqual(opened.sessionSecret.reveal(), record.sessionSecret);
  assert.deepEqual(await locks.shareA(opened.sessionSecret, recordId), record.ssA);
  assert.deepEqual(await locks.openingKey(opened.sessionSecret, recordId), record.openingKey);
  assert.deepEqual(await locks.ownerWrapKey(new SecretBytes(record.ownerSecret), recordId), record.ownerWrapKey);
  assert.deepEqual(capsuleLabel(header), record.label);
  const key = await locks.wrappingKey(record.ssA, record.ssB, header, opened.lockA, record.capsule, 0);
  assert.deepEqual(key, record.wrappingKey);
  assert.deepEqual(encodeAs(OpeningShape, record.opening), record.openingBytes);
  assert.deepEqual(keyIdOf(keyholders.state.publicKey), keyholders.state.keyId);
});

test("a swapped or changed piece is named", async () => {
  const opened = await session();
  const found = opened.openings[0]!.opening;
  const bent = (raw: Bytes): Bytes => raw.with(0, raw[0]! ^ 1) as Bytes;
  const envelope = { ...record.envelope, wrappedDek: bent(record.envelope.wrappedDek) };
  const keyId = keyholders.state.keyId;
  assert.throws(() => opening.checkRecord(chain, keyId, recordId, state, found, envelope), { code: "record.envelope_swapped" });
  const moved = { ...found, placement: bent(found.placement) };
  assert.throws(() => opening.checkRecord(chain, keyId, recordId, state, moved, record.envelope), {
    code: "record.policy_swapped",
  });
  assert.throws(() => opening.checkCiphertext(header, found, bent(record.ciphertext)), { code: "record.tampered" });
  const dek = new SecretBytes(record.dek);
  await assert.rejects(opening.openRecord(dek, bent(record.ciphertext), header, state.keyCommitment), { code: "record.tampered" });
  await assert.rejects(opening.openRecord(new SecretBytes(record.seedB), record.ciphertext, header, state.keyCommitment), {
    code: "record.wrong_key",
  });
  await assert.rejects(opening.unwrapDek(opened, header, record.envelope, bent(record.ssB), state.keyCommitment), {
    code: "record.wrong_key",
  });
  const root = await (await patient()).root();
  const broken = { code: "record.owner_lock_broken" };
  await assert.rejects(opening.openOwnerLock(root, opened, chain, recordId), broken);
  const secret = await opening.openOwnerLock(root, opened, chain, people.compartmentId);
  await assert.rejects(opening.ownerOpen(secret, bent(record.ownerWrap), header), broken);
  const mine = await opening.ownerOpen(secret, record.ownerWrap, header);
  const other = { ...mine, seedB: new SecretBytes(record.dek.slice()) };
  const check = opening.ownerChecksBothLocks(other, record.ownerWrap, opened, header, record.envelope, state, keyholders.state);
  await assert.rejects(check, (error: Loose) => error.code === "record.locks_differ" && error.fields.lock === "B");
  const log = await (await patient()).log();
  await assert.rejects(opening.readSession(log, record.sessionEntry, chain, people.compartmentId, 0), {
    code: "record.session_not_ours",
  });
});

test("the owner grants with the frozen body and signature", async () => {
  const keys = await patient();
  const request = decodeAs(AccessRequestShape, grant.request);
  const { notBeforeMs, expiresAtMs, dateFrom, dateTo, purpose, mode, nonce } = grant.body;
  const terms = { notBeforeMs, expiresAtMs, dateFrom, dateTo, purpose, mode };
  const epochKeys = [{ readingEpoch: 0, readingSeed: (await keys.readingSeed(0)).reveal() }];
  const made = await granting.makeGrant(keys, chain, 0, request, terms, epochKeys, people.card, nonce);
  assert.deepEqual(made.body, grant.body);
  assert.deepEqual(encodeAs(GrantBodyShape, made.body), grant.bodyBytes);
  assert.deepEqual(made.ownerSignature, grant.ownerSignature);
  assert.deepEqual(made.public, grant.public);
  assert.deepEqual(made.grantId, grant.grantId);
  const inbox = new OpeningKey(new SecretBytes(grant.inboxSeed.slice()));
  for (const sealed of [made.parcel, frozen.drawn.parcel]) {
    assert.deepEqual(await granting.openParcel(inbox, sealed, chain, [request.readerKey]), grant.parcel);
  }
  await assert.rejects(granting.openParcel(inbox, made.parcel, chain, [people.ownerDigest]), { code: "grant.parcel_not_ours" });
  await assert.rejects(granting.openParcel(await keys.root(), made.parcel, chain, [request.readerKey]), {
    code: "grant.parcel_not_ours",
  });
  const backwards = granting.makeGrant(
    keys,
    chain,
    0,
    request,
    { ...terms, expiresAtMs: notBeforeMs },
    epochKeys,
    people.card,
    nonce,
  );
  await assert.rejects(backwards, { code: "grant.invalid" });
  granting.requireSameGrant(made.body, grant.public);
  assert.throws(() => granting.requireSameGrant({ ...made.body, dateTo: "2026-12-31" }, grant.public), {
    code: "grant.body_differs",
  });
});

test("a reader asks with the frozen entry and opens with six parts", async () => {
  const prepared = granting.makeAccess(
    grant.body,
    record.policy.author,
    [recordId],
    access.reason,
    drawn(access.body.salt, responseSeed()),
  );
  assert.deepEqual(encodeAs(AccessBodyShape, { ...prepared.access, responseKey: access.body.responseKey }), access.bodyBytes);
  const opened = await session();
  const wanted = [{ recordId, opening: opened.openings[0]!.opening, envelope: record.envelope }];
  const asFrozen = { ...prepared, access: access.body, entryId: access.entryId };
  const asked = await granting.makeReleaseRequest(asFrozen, grant.body, grant.ownerSignature, wanted, await keyOf("clinician"));
  assert.equal(toHex(encodeAs(ReleaseRequestShape, asked)), toHex(release.request));
  assert.throws(() => granting.makeAccess(grant.body, recordId, [recordId, recordId], ""), { code: "access.invalid" });
});

test("too few parts, and a part that lies, are named", async () => {
  const prepared = granting.makeAccess(grant.body, record.policy.author, [recordId], "x");
  const locked = [{ header, envelope: record.envelope, session: await session(), keyCommitment: state.keyCommitment }];
  const one = { ...release.reply, partials: release.reply.partials };
  const few = await granting.combineRelease([one], locked, keyholders.state, prepared);
  assert.equal(few.failed.get(toHex(recordId))!.code, "release.too_few_parts");
  const forged = [0, 1, 2, 3, 4, 5].map((node) => ({
    ...release.reply,
    node,
    partials: [{ recordId, partial: { ...release.reply.partials[0].partial, index: node } }],
  }));
  const lied = await granting.combineRelease(forged, locked, keyholders.state, prepared);
  assert.deepEqual(lied.lying, [0, 1, 2, 3, 4, 5], "parts of other members, or for another response key");
  assert.equal(lied.deks.size, 0);
  const stale = forged.map((reply) => ({ ...reply, sharingEpoch: 1 }));
  assert.deepEqual((await granting.combineRelease(stale, locked, keyholders.state, prepared)).lying, []);
});

test("a lie about one record costs no other, though just enough nodes answer", async () => {
  const shares = [5n, 9n]; // of 1 on a line, at 1 and 2
  const publicKey = GENERATOR.toBytes();
  const toy = {
    keyId: keyIdOf(publicKey),
    threshold: 2,
    publicKey,
    memberKeys: shares.map((share) => times(GENERATOR, share).toBytes()),
    sharingEpoch: 0,
  };
  const keys = await patient();
  const card = { ...people.card.card, readingKey: (await keys.reading(0)).public };
  const by = { chain, orgId: chain, credentialId: recordId, authorKey: await keyOf("author"), card, keyholders: toy };
  const authoring = await AuthoringSession.begin(by as Loose);
  const items = [{ name: "x", mediaType: "text/plain", content: utf8("x") }];
  const content = { items, kind: "note", date: "2025-02-28", createdMs: NOW_MS };
  const sealed = [await authoring.seal(content), await authoring.seal(content)];
  const [write] = (await makeBatch([authoring], 1)).feedWrites;
  const opened = await opening.readSession(await keys.reading(0), write!.sessionEntry, chain, people.compartmentId, 0);
  const locked = sealed.map((one) => ({
    header: makeHeader(chain, one.recordId, one.entry.policyCommitment, toy.keyId),
    envelope: one.envelope,
    session: opened,
    keyCommitment: one.entry.keyCommitment,
  }));
  const replies = shares.map((share, node) => ({
    node,
    keyId: toy.keyId,
    sharingEpoch: 0,
    weighed: [],
    partials: sealed.map(({ recordId, envelope }, place) => {
      const told = node === 1 && place === 0 ? share + 1n : share;
      const value = times(readPoint(envelope.capsule.u), told).toBytes();
      return { recordId, partial: { index: node, value, e: scalarBytes(1n), f: scalarBytes(1n) } };
    }),
  }));
  const prepared = granting.makeAccess(grant.body, record.policy.author, [recordId], "x");
  const { deks, failed, lying } = await granting.combineRelease(replies, locked, toy, prepared);
  assert.deepEqual([...deks.keys()], [toHex(sealed[1]!.recordId)]);
  assert.equal(failed.get(toHex(sealed[0]!.recordId))!.code, "release.too_few_parts");
  assert.ok(lying.includes(1));
});

test("the owner's log is complete, and what is missing or false has a name", async () => {
  const keys = await patient();
  const serviceKeys = Array.from({ length: 9 }, () => new Uint8Array(32));
  serviceKeys[3] = (await keyOf("node 3")).public;
  const log = await readReceipts(await keys.log(), [frozen.drawn.receipt, utf8("junk")], chain, serviceKeys);
  assert.deepEqual(log.receipts, [release.receipt]);
  assert.deepEqual(
    log.findings.map((found) => found.code),
    ["log.item_unreadable"],
  );
  const forged = await readReceipts(await keys.log(), [frozen.drawn.receipt], chain, []);
  assert.deepEqual(
    forged.findings.map((found) => found.code),
    ["log.item_forged"],
  );

  const entry = { grantId: grant.grantId, commitment: access.commitment, height: 100, timeMs: NOW_MS, ordinal: 0 };
  const onChain: Loose = { ...grant.public, payer: chain, height: 1, revokedHeight: null, entries: 1 };
  onChain.entriesHash = entriesHash(new Uint8Array(32), access.entryId);
  const nobody = new HealthReader(new Map([[toHex(stateKey.credential(access.body.credentialId)), null]]));
  const own = { receipts: [], findings: [] };
  const clean = { receipts: log.receipts, findings: [] };
  const known = { grantId: grant.grantId, state: onChain, entries: [entry], body: grant.body };
  const codes = (grants: Loose, with_: Loose = clean): string[] =>
    audit(chain, grants, with_, nobody, own).findings.map((found) => found.code);

  const whole = audit(chain, [known], clean, nobody, own);
  assert.ok(whole.complete);
  assert.deepEqual(whole.reads[0]!.records, [recordId]);
  assert.deepEqual(codes([{ ...known, entries: [] }]), ["log.entries_missing", "log.unknown_entry"]);
  assert.deepEqual(codes([known], { receipts: [], findings: [] }), ["log.no_receipt"]);
  assert.deepEqual(codes([{ ...known, state: { ...onChain, entriesHash: chain } }]), ["log.entries_differ"]);
  const receipt = release.receipt.receipt;
  assert.deepEqual(codes([known], { receipts: [{ receipt: { ...receipt, records: [] } }], findings: [] }), [
    "log.more_than_committed",
  ]);
  const otherAccess = { ...receipt, access: { ...receipt.access, purpose: "payment" } };
  assert.deepEqual(codes([known], { receipts: [{ receipt: otherAccess }], findings: [] }), [
    "log.receipt_differs",
    "log.no_receipt",
  ]);
});

/** The vectors name the response key, not its seed; any seed serves where only the entry's other fields are compared. */
function responseSeed(): Bytes {
  return sha256(utf8("response"));
}
