import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, toHex } from "../src/bytes.ts";
import { decode, encode } from "../src/codec/dagcbor.ts";
import { decodeAs, encodeAs, type Shape } from "../src/codec/shape.ts";
import { explain } from "../src/human/explain.ts";
import { sentence } from "../src/human/sentence.ts";
import { SecretBytes } from "../src/keys/secret.ts";
import { SigningKey } from "../src/keys/sign.ts";
import {
  availabilityMessage,
  entriesHash,
  entryIdOf,
  envelopesRoot,
  grantIdOf,
  orgIdOf,
  recordIdOf,
} from "../src/terms/payloads.ts";
import {
  AnchorStateShape,
  CompartmentStateShape,
  CredentialStateShape,
  EntryStateShape,
  GrantStateShape,
  OrganisationStateShape,
  RecordStateShape,
  stateKey,
} from "../src/terms/states.ts";
import { addSignature, makeBody, parseBody, parseTx, signMessage, signTx } from "../src/terms/transactions.ts";
import { type Loose, readVectors } from "./vectors.ts";

const frozen = readVectors("hce/health.json");
const { chain, keys } = frozen;

/** Prefix of a state key -> what stands under it. */
const STATES: readonly (readonly [string, Shape<unknown>])[] = [
  ["org/", OrganisationStateShape],
  ["cred/", CredentialStateShape],
  ["comp/", CompartmentStateShape],
  ["rec/", RecordStateShape],
  ["grant/", GrantStateShape],
  ["entry/", EntryStateShape],
  ["anchor/", AnchorStateShape],
];

async function signers(signatures: Loose): Promise<[Loose, SigningKey][]> {
  return Promise.all(
    signatures.map(async ({ role, publicKey }: Loose) => {
      const known = Object.values(keys).find((key: Loose) => toHex(key.public) === toHex(publicKey)) as Loose;
      return [role, await SigningKey.fromSeed(new SecretBytes(known.seed.slice()))];
    }),
  );
}

test("every kind of transaction has the frozen bytes, id and signatures", async () => {
  for (const one of frozen.transactions) {
    const body = makeBody(chain, one.kind as "grant.open", one.payload, one.payer, one.validUntil);
    assert.equal(toHex(body.bytes), toHex(one.bodyBytes), one.name);
    assert.deepEqual(body.id, one.id);
    assert.deepEqual(parseBody(one.bodyBytes).payload, one.payload);
    for (const signed of one.signatures) assert.deepEqual(signMessage(chain, signed.role, body.id), signed.signedBytes);
    assert.equal(toHex(await signTx(body, await signers(one.signatures))), toHex(one.signedTransaction), one.name);
    const tx = parseTx(one.signedTransaction, chain);
    assert.deepEqual(
      tx.signatures.map((signed) => signed.role),
      one.signatures.map((signed: Loose) => signed.role),
    );
  }
});

test("a countersigned transaction is the one signed at once", async () => {
  const one = frozen.transactions.find((tx: Loose) => tx.kind === "grant.open");
  const [first, payer] = await signers(one.signatures);
  const half = await signTx(parseBody(one.bodyBytes), [first!]);
  assert.throws(() => parseTx(half, chain), { code: "tx.bad_signature" });
  assert.deepEqual(await addSignature(half, "payer", payer![1]), one.signedTransaction);
});

test("a transaction of another chain, kind or signature is refused", () => {
  const { bodyBytes, signedTransaction } = frozen.transactions[4];
  assert.throws(() => parseTx(signedTransaction, new Uint8Array(16)), { code: "tx.wrong_chain" });
  const bent = signedTransaction.slice();
  bent[bent.length - 1] ^= 1;
  assert.throws(() => parseTx(bent, chain), { code: "tx.bad_signature" });
  const fields = decode(bodyBytes) as readonly never[];
  assert.throws(() => parseBody(encode(fields.with(2, "grant.steal" as never))), { code: "tx.unknown_kind" });
  assert.throws(() => parseBody(encode(fields.with(2, "toString" as never))), { code: "tx.unknown_kind" });
  assert.throws(() => parseBody(encode(fields.with(4, null as never))), { code: "malformed" });
});

test("what the contracts write reads as the SDK's states, byte for byte", () => {
  let seen = 0;
  for (const { writes } of frozen.transactions) {
    for (const [hex, value] of Object.entries(writes as Record<string, Bytes>)) {
      const key = Buffer.from(hex.slice(2), "hex").toString("latin1");
      const shape = STATES.find(([prefix]) => key.startsWith(prefix))?.[1];
      if (shape === undefined) continue;
      assert.deepEqual(encodeAs(shape, decodeAs(shape, value)), value);
      seen += 1;
    }
  }
  assert.ok(seen > 10);
});

test("ids follow from what they name", () => {
  const by = (kind: string): Loose => frozen.transactions.find((tx: Loose) => tx.kind === kind);
  const organisation = by("organisation.vote");
  assert.deepEqual(orgIdOf(chain, organisation.payload.certificate.orgKey), organisation.produced[0]);
  const grant = by("grant.open");
  assert.deepEqual(grantIdOf(chain, grant.payload), grant.produced[0]);
  const accesses = frozen.transactions.filter((tx: Loose) => tx.kind === "access.open");
  const running = accesses.reduce((before: Bytes, { payload, produced }: Loose) => {
    assert.deepEqual(entryIdOf(chain, payload.grantId, payload.commitment), produced[0]);
    return entriesHash(before, produced[0]);
  }, new Uint8Array(32));
  const state = accesses.at(-1).writes[`0x${toHex(stateKey.grant(grant.produced[0]))}`];
  assert.deepEqual(decodeAs(GrantStateShape, state).entriesHash, running);
  const batch = by("record.commit");
  const ids = batch.payload.entries.map((entry: Loose) => recordIdOf(chain, batch.payload.orgId, entry.nonce));
  assert.deepEqual(ids, batch.produced);
  const { envelopesRoot: root, signedBytes } = batch.availability;
  assert.deepEqual(envelopesRoot(batch.payload.entries), root);
  const { placement, receipts } = batch.payload;
  assert.deepEqual(
    receipts.map((receipt: Loose) => availabilityMessage(chain, placement, root, receipt, batch.block.epoch)),
    signedBytes,
  );
});

test("what is signed is shown from the bytes that are signed", () => {
  const { grant, people } = readVectors("hce/records.json");
  const explained = explain(grant.message);
  assert.ok(explained.what === "grant" && explained.body.purpose === "treatment");
  const nameOf = (): string => "Old Town Clinic";
  assert.equal(
    sentence(explained, "en", nameOf),
    "You let Old Town Clinic (4ec5fcc8) read your records dated 2025-01-01 to 2025-12-31, for treatment, " +
      "from 2025-10-09 08:53 until 2025-10-10 08:53 (UTC).",
  );
  assert.match(
    sentence(explained, "zh-CN", () => null),
    /诊疗查看您 2025-01-01 至 2025-12-31/,
  );
  assert.match(
    sentence(explained, "en", () => "Evil\u202e\n{purpose} Clinic"),
    /^You let Evil\{purpose\} Clinic \(/,
  );
  assert.equal(explain(people.cardMessage).what, "card");
  assert.equal(explain(people.tokenMessage).what, "token");
  for (const one of frozen.transactions) {
    const transaction = explain(one.bodyBytes);
    assert.ok(transaction.what === "transaction" && transaction.body.kind === one.kind);
    for (const language of ["en", "zh-CN"] as const) {
      const said = sentence(transaction, language, () => null);
      assert.ok(said.length > 5 && !/[{}]|undefined/.test(said), said);
    }
  }
});

test("what an author signs is said from the signed bytes", () => {
  const { record } = readVectors("hce/records.json");
  const explained = explain(record.authorMessage);
  assert.ok(explained.what === "record");
  assert.deepEqual(explained.body.recordId, record.recordId);
  const nameOf = (subject: Bytes): string => (toHex(subject) === toHex(record.policy.author) ? "Dr. Lin" : "Zhen");
  const said = sentence(explained, "en", nameOf);
  assert.match(said, /^As Dr\. Lin \([0-9a-f]{8}\) you sign .+ of \d{4}-\d\d-\d\d into the record of Zhen \([0-9a-f]{8}\)\./);
  assert.ok(said.endsWith(`content is ${toHex(record.ciphertextCid).slice(8, 24)}.`));
  const [domain, signedFor, name, policy, content] = decode(record.authorMessage) as readonly never[];
  for (const odd of [
    [domain, signedFor, name, policy],
    [domain, new Uint8Array(16), name, policy, content],
    [domain, signedFor, name, [], content],
    [domain, signedFor, name, policy, content, 1],
  ]) {
    assert.throws(() => explain(encode(odd as never)), { code: "malformed" });
  }
});

test("what nobody signs is not explained", () => {
  const { message } = readVectors("hce/records.json").grant;
  const [domain, signedFor, body] = decode(message) as readonly never[];
  for (const odd of [
    [domain, new Uint8Array(16), body],
    ["hce/toString/1", signedFor, body],
    [domain, signedFor],
    [domain, signedFor, body, 1],
    [],
  ]) {
    assert.throws(() => explain(encode(odd as never)), { code: "malformed" });
  }
});
