// A client among nodes of which some lie, lag or hang: what is not proven is not believed, and nobody has the last word.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, utf8 } from "../src/bytes.ts";
import { cidOfDagCbor, cidOfRaw, sha256 } from "../src/codec/cid.ts";
import { encode } from "../src/codec/dagcbor.ts";
import { decodeAs, encodeAs } from "../src/codec/shape.ts";
import { PeerFault, Remote, Unavailable } from "../src/errors.ts";
import { disperse, makeManifest, type Placed, readManifest } from "../src/hcefs/manifest.ts";
import { CompartmentKeys } from "../src/keys/compartments.ts";
import { Root } from "../src/keys/derive.ts";
import { SecretBytes } from "../src/keys/secret.ts";
import type { Pace } from "../src/net/asking.ts";
import { Network } from "../src/net/network.ts";
import { type Fetch, NodeClient } from "../src/net/node.ts";
import { Owner } from "../src/net/owner.ts";
import { MapProofShape } from "../src/proofs/authmap.ts";
import { LightClient } from "../src/proofs/light.ts";
import { FinalHeaderShape, genesisCid, StateProofShape } from "../src/terms/chain.ts";
import { deletionMessage, SignedDeletionShape } from "../src/terms/mailbox.ts";
import { stateKey } from "../src/terms/states.ts";
import { type Answer, CHAIN, Crowd, NOW_MS, refusal } from "./crowd.ts";
import { readVectors } from "./vectors.ts";

/** So long that no test reaches it, however busy the machine is. */
const NEVER_MS = 600_000;
const PATIENT: Pace = { nextMs: NEVER_MS, shortMs: NEVER_MS, slowMs: NEVER_MS, hedgeMs: NEVER_MS };

const join = (crowd: Crowd, urls = crowd.urls, pace = PATIENT): Promise<Network> =>
  Network.join(urls, { trust: genesisCid(crowd.genesis), fetch: crowd.fetch, now: () => NOW_MS, pace });

/** Proven state out of the frozen maps: keys that are bytes like any others. */
async function stateAnswer(
  crowd: Crowd,
  height: number,
  signers: readonly number[],
): Promise<{ keys: Bytes[]; answer: Bytes; values: (Bytes | null)[] }> {
  const { root, proofs } = readVectors("hce/proofs.json").maps.at(-1);
  const healthHead = { txsRoot: root, receiptsRoot: root, stateRoot: root };
  const final = await crowd.header(height, signers, { healthHead });
  const values = proofs.map((one: { value: Bytes | null; proof: Bytes }) => ({
    value: one.value,
    proof: decodeAs(MapProofShape, one.proof),
  }));
  return {
    keys: proofs.map((one: { key: Bytes }) => one.key),
    values: proofs.map((one: { value: Bytes | null }) => one.value),
    answer: encodeAs(StateProofShape, { final, values }),
  };
}

test("a header is final with quorum(n) precommits, and with nothing less", async () => {
  const crowd = await Crowd.of(4);
  const client = (): LightClient => new LightClient(crowd.genesis, () => NOW_MS);
  const good = await crowd.header(5, [0, 2, 3]);
  assert.equal(client().head(good).header.height, 5);
  const bad = [
    await crowd.header(5, [0, 2]),
    await crowd.header(5, [2, 0, 3]),
    await crowd.header(5, [0, 0, 3]),
    { ...good, commit: null },
    { ...good, commit: { ...good.commit!, round: 1 } },
    { ...good, header: { ...good.header, height: 6 } },
    { ...good, ledger: { ...good.ledger, nextEpoch: 1 } },
    await crowd.header(5, [0, 1, 2], { nextValidators: cidOfDagCbor(encode([])) }),
  ];
  for (const final of bad) assert.throws(() => client().head(final), PeerFault);
  const elsewhere = new LightClient({ ...crowd.genesis, chain: new Uint8Array(16) }, () => NOW_MS);
  assert.throws(() => elsewhere.head(good), { code: "consensus.commit_invalid" });
});

test("an old header proves, and does not speak about now", async () => {
  const crowd = await Crowd.of(4);
  const old = await crowd.header(5, [0, 1, 2], {}, NOW_MS - 11 * 60_000);
  const client = new LightClient(crowd.genesis, () => NOW_MS);
  client.accept(old);
  assert.throws(() => client.head(old), { code: "header.too_old" });
  assert.equal(new LightClient(crowd.genesis, () => NOW_MS, null).head(old).header.height, 5);
});

test("state is believed with its proof, from whoever gives it, and never older than what was seen", async () => {
  const crowd = await Crowd.of(4);
  const old = await stateAnswer(crowd, 4, [0, 1, 2]);
  const { keys, answer, values } = await stateAnswer(crowd, 9, [1, 2, 3]);
  const forged = answer.slice();
  forged[forged.length - 1]! ^= 1;
  crowd.answer = async (host, path) => (path === "/v1/health-state" ? [forged, utf8("junk"), old.answer, answer][host]! : null);
  const network = await join(crowd);
  network.light.accept(await crowd.header(8, [0, 1, 2]));
  const reader = await network.reader(...keys);
  assert.ok(keys.every((key) => reader.has(key)));
  assert.equal(network.light.height, 9);
  assert.ok(values.includes(null) && values.some((value) => value !== null));
  assert.throws(() => reader.grant(new Uint8Array(32)), /not proven/);
  assert.deepEqual(crowd.hostsAsked("/v1/health-state"), [0, 1, 2, 3]);
});

test("another network's nodes are left out, and a page with a pinned genesis joins no other", async () => {
  const [crowd, other] = [await Crowd.of(4), await Crowd.of(3)];
  crowd.answer = async (host, path) =>
    host === 3 && path === "/v1/genesis" ? other.fetch("http://n0/v1/genesis", {}).then(bytesOf) : null;
  assert.deepEqual(
    (await join(crowd)).nodes.map((node) => node.url),
    ["http://n0", "http://n1", "http://n2"],
  );
  await assert.rejects(join(crowd, ["http://n3"]), { code: "node.wrong_network" });
  crowd.answer = async () => "hangs";
  await assert.rejects(Network.join(["http://n0"], { fetch: crowd.fetch, pace: { shortMs: 5 } }), { code: "node.unreachable" });
});

test("a refusal counts when so many nodes give it that one of them is honest", async () => {
  const crowd = await Crowd.of(4);
  const network = await join(crowd);
  crowd.answer = async (host) => (host === 0 ? refusal("grant.revoked") : utf8("yes"));
  assert.deepEqual(await network.anyNode((node) => node.blob(cidOfRaw(utf8("x")))), utf8("yes"), "one refusal is passed over");
  crowd.answer = async (host) => (host < 2 ? refusal("grant.revoked", 403) : "hangs");
  await assert.rejects(
    network.anyNode((node) => node.blob(cidOfRaw(utf8("x")))),
    (error) => error instanceof Remote && error.code === "grant.revoked",
  );
});

test("a node that hangs gets company, and is asked last from then on", async () => {
  const crowd = await Crowd.of(4);
  const network = await join(crowd, crowd.urls, { ...PATIENT, nextMs: 5 });
  crowd.answer = async (host, path) =>
    path.startsWith("/v1/final") ? (host === 0 ? "hangs" : crowd.headerBytes(3, [1, 2, 3])) : null;
  assert.equal(await network.head(), 3);
  crowd.asked.length = 0;
  await network.anyNode((node) => node.final());
  assert.notEqual(crowd.hostsAsked("/v1/final")[0], 0);
});

test("the newest header is asked of so many that one of them is honest", async () => {
  const crowd = await Crowd.of(4);
  crowd.answer = async (host, path) => (path === "/v1/final" ? crowd.headerBytes(host === 0 ? 3 : 7, [0, 1, 2]) : null);
  assert.equal(await (await join(crowd)).head(), 7, "a node that lags does not hide the others' blocks");
});

test("which node an address is, is believed with its signature only", async () => {
  const crowd = await Crowd.of(4);
  const network = await join(crowd);
  assert.equal(await network.indexOf(network.nodes[2]!), 2);
  const liars = await join(crowd);
  crowd.answer = async (_, path) => (path === "/v1/identity" ? crowd.identity(1, new Uint8Array(32), 1) : null);
  await assert.rejects(liars.indexOf(liars.nodes[1]!), { code: "node.unreachable" }, "a signature over another nonce");
});

test("who gives up waiting for a node to say which it is, gives up for nobody else", async () => {
  const crowd = await Crowd.of(4);
  const abortable: Fetch = (url, init) =>
    new Promise((resolve, reject) => {
      init.signal!.addEventListener("abort", () => reject(init.signal!.reason as Error));
      crowd.fetch(url, init).then(resolve, reject);
    });
  const network = await Network.join(crowd.urls, { trust: crowd.genesis, fetch: abortable, now: () => NOW_MS, pace: PATIENT });
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => (answer = resolve));
  crowd.answer = async (_, path) => (path === "/v1/identity" ? asked.then(() => null) : null);
  const [stop, node] = [new AbortController(), network.nodes[2]!];
  const first = network.indexOf(node.with({ signal: stop.signal })).catch(() => null);
  const second = network.indexOf(node);
  stop.abort();
  answer();
  assert.equal(await second, 2);
  await first;
});

test("why too few answered is what so many say that one of them is honest", async () => {
  const crowd = await Crowd.of(4);
  const network = await join(crowd);
  const reason = async (refusing: number): Promise<string> => {
    crowd.answer = async (host) => (host < refusing ? refusal("grant.revoked", 403) : refusal("pool.full", 503));
    return network.reasonOf(await network.everyNode((node) => node.final())).code;
  };
  assert.deepEqual([await reason(1), await reason(2)], ["pool.full", "grant.revoked"]);
});

test("a transaction is told to enough nodes and waited for; what nobody finalises has a name", async () => {
  const crowd = await Crowd.of(4);
  const network = await join(crowd);
  const submitted: number[] = [];
  crowd.answer = async (host, path) => {
    if (path !== "/v1/health-tx") return null;
    submitted.push(host);
    return utf8("{}");
  };
  await assert.rejects(network.submit(utf8("raw"), cidOfDagCbor(utf8("raw"))), { code: "tx.not_final_in_time" });
  assert.equal(submitted.length, 2, "of four one may be faulty");
  submitted.length = 0;
  await assert.rejects(network.submit(utf8("raw"), cidOfDagCbor(utf8("raw")), true), { code: "tx.not_final_in_time" });
  assert.equal(submitted.length, 4, "a revocation is told to everybody");
  crowd.answer = async () => refusal("tx.wrong_chain");
  await assert.rejects(network.submit(utf8("raw"), cidOfDagCbor(utf8("raw"))), { code: "tx.wrong_chain" });
});

test("a ciphertext comes out of any k shards; what nodes forge is passed over", async () => {
  const crowd = await Crowd.of(4);
  const network = await join(crowd);
  const content = sha256(utf8("content"));
  const { placed, shards } = disperse(content, 4);
  const { placement, placementCid } = makeManifest(CHAIN, [placed], 4);
  const [{ nodes }] = readManifest(placement, CHAIN) as [Placed];
  const shardOf = (host: number): Bytes => shards[nodes.indexOf(host)]!;
  const [liar, away] = [nodes[0]!, nodes[3]!];
  const serving: Answer = async (host, path) => {
    if (path.startsWith("/v1/blobs/"))
      return host === liar ? utf8("forged") : path.includes(Buffer.from(placementCid).toString("hex")) ? placement : null;
    if (path !== "/v1/shards" || host === away) return path === "/v1/shards" ? refusal("not_found", 404) : null;
    return encode([host === liar ? utf8("forged") : shardOf(host)]);
  };
  crowd.answer = serving;
  assert.deepEqual(await network.ciphertext(cidOfRaw(content), placementCid), content);
  crowd.answer = async (host, path, body) =>
    path === "/v1/shards" && host !== nodes[1] ? refusal("not_found", 404) : serving(host, path, body);
  await assert.rejects(
    network.ciphertext(cidOfRaw(content), placementCid),
    (error) => error instanceof Unavailable && error.code === "blob.unrecoverable",
  );
});

test("who passes a node's identity on does not hide its shards", async () => {
  const crowd = await Crowd.of(4);
  const content = sha256(utf8("content"));
  const { placed, shards } = disperse(content, 4);
  const { placement, placementCid } = makeManifest(CHAIN, [placed], 4);
  const [{ nodes, k }] = readManifest(placement, CHAIN) as [Placed];
  const hidden = nodes[0]!;
  const relay: Fetch = (url, init) =>
    crowd.fetch(new URL(url).pathname === "/v1/identity" ? url.replace("//n9", `//n${hidden}`) : url, init);
  const network = await Network.join(["http://n9", ...crowd.urls], {
    trust: crowd.genesis,
    fetch: relay,
    now: () => NOW_MS,
    pace: PATIENT,
  });
  assert.equal(await network.indexOf(network.nodes[0]!), hidden, "it is the first that is known to speak with that node");
  crowd.answer = async (host, path) => {
    if (path.startsWith("/v1/blobs/")) return path.includes(Buffer.from(placementCid).toString("hex")) ? placement : null;
    if (path !== "/v1/shards") return null;
    if (host === 9) return encode([null]);
    return nodes.indexOf(host) < k ? encode([shards[nodes.indexOf(host)]!]) : refusal("not_found", 404);
  };
  assert.deepEqual(await network.ciphertext(cidOfRaw(content), placementCid), content);
});

test("whatever a node answers, the worst is a named error", async () => {
  const crowd = await Crowd.of(1);
  const node = new NodeClient("http://n0/", { fetch: crowd.fetch, maxAnswerBytes: 1_000 });
  const answers: [Answer, string][] = [
    [async () => new Uint8Array(2_000), "node.bad_answer"],
    [async () => utf8("junk"), "node.bad_answer"],
    [async () => ({ status: 500, text: "<html>" }), "node.bad_answer"],
    [async () => ({ status: 400, text: '{"code": 1}' }), "node.bad_answer"],
    [async () => refusal("pool.full", 503), "pool.full"],
    [async () => "hangs", "node.unreachable"],
    [() => Promise.reject(new TypeError("fetch failed")), "node.unreachable"],
  ];
  for (const [answer, code] of answers) {
    crowd.answer = answer;
    await assert.rejects((code === "node.unreachable" ? node.with({ timeoutMs: 5 }) : node).final(), { code });
  }
  crowd.answer = async () => encodeAs(FinalHeaderShape, await crowd.header(1, [0]));
  assert.equal((await node.final()).header.height, 1);
});

test("a receipt of an erasure counts when it names this feed and no other records", async () => {
  const crowd = await Crowd.of(4);
  const keys = await CompartmentKeys.open(await Root.fromSeed(new SecretBytes(new Uint8Array(64))));
  const owner = new Owner(await join(crowd), keys);
  const [asked, other] = [sha256(utf8("asked")), sha256(utf8("other"))];
  const good = { chain: CHAIN, address: await owner.feedAddress(), records: [asked], node: 0, timeMs: NOW_MS };
  const receipts = [good, { ...good, records: [other] }, { ...good, address: other }, { ...good, node: 2 }];
  crowd.answer = async (host, path) => {
    if (path !== "/v1/mailbox/act") return null;
    const receipt = receipts[host]!;
    return encodeAs(SignedDeletionShape, { receipt, signature: await crowd.sign(host, deletionMessage(receipt)) });
  };
  assert.deepEqual(
    (await owner.erase([asked])).map(({ receipt }) => receipt),
    [good],
    "an honest node's receipt of another erasure, kept and shown again, is none of this one",
  );
});

test("state keys are spelled as the chain spells them", () => {
  const id = new Uint8Array(32).fill(1);
  assert.equal(Buffer.from(stateKey.anchor(id, 258)).toString("latin1"), `anchor/${"\u0001".repeat(32)}\0\0\0\0\0\0\u0001\u0002`);
  assert.equal(Buffer.from(stateKey.grant(id)).toString("latin1"), `grant/${"\u0001".repeat(32)}`);
});

async function bytesOf(response: Response): Promise<Bytes> {
  return new Uint8Array(await response.arrayBuffer());
}
