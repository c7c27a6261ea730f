// Nodes without a chain: hosts n0, n1, … that have the keys of a genesis made here and answer as a test says.

import { type Bytes, utf8 } from "../src/bytes.ts";
import { cidOfDagCbor, sha256 } from "../src/codec/cid.ts";
import { encode } from "../src/codec/dagcbor.ts";
import { signingBytes } from "../src/codec/hashing.ts";
import { encodeAs } from "../src/codec/shape.ts";
import { SecretBytes } from "../src/keys/secret.ts";
import { SigningKey } from "../src/keys/sign.ts";
import type { Fetch } from "../src/net/node.ts";
import {
  ConsensusHeaderShape,
  type FinalHeader,
  FinalHeaderShape,
  type Genesis,
  GenesisShape,
  LedgerHeaderShape,
  NodeShape,
} from "../src/terms/chain.ts";
import { IdentityShape } from "../src/terms/mailbox.ts";

export const CHAIN = new Uint8Array(16).fill(7);
export const NOW_MS = 1_760_000_000_000;
const ZERO = new Uint8Array(32);

/** (host, path, body) -> its answer: bytes, a refusal, "hangs", or null: as an honest node that knows nothing. */
export type Answer = (host: number, path: string, body: Bytes) => Promise<Bytes | Refusal | "hangs" | null>;
export interface Refusal {
  readonly status: number;
  readonly text: string;
}

export const refusal = (code: string, status = 400): Refusal => ({ status, text: JSON.stringify({ code, status, detail: "no" }) });

export class Crowd {
  readonly genesis: Genesis;
  readonly urls: readonly string[];
  readonly asked: [number, string][] = [];
  answer: Answer = async () => null;
  readonly #consensus: readonly SigningKey[];
  readonly #service: readonly SigningKey[];

  private constructor(genesis: Genesis, consensus: readonly SigningKey[], service: readonly SigningKey[]) {
    this.genesis = genesis;
    this.#consensus = consensus;
    this.#service = service;
    this.urls = consensus.map((_, index) => `http://n${index}`);
  }

  static async of(n: number): Promise<Crowd> {
    const keys = (use: string): Promise<SigningKey[]> =>
      Promise.all(Array.from({ length: n }, (_, i) => SigningKey.fromSeed(new SecretBytes(sha256(utf8(`${use} ${i}`))))));
    const [consensus, service] = [await keys("consensus"), await keys("service")];
    const nodes = consensus.map((key, i) => ({
      node: { operator: new Uint8Array(20), consensusKey: key.public, linkKey: ZERO, serviceKey: service[i]!.public, power: 1 },
      linkCertificate: new Uint8Array(0),
    }));
    const params = {
      blockIntervalMs: 1_000,
      slotsPerTurn: 6,
      replayWindow: 600,
      blockSteps: 300_000,
      txSteps: 150_000,
      stepPriceAhce: 1,
      gasLimit: 30_000_000,
      baseFeeWei: 7,
      entryMaxBlocks: 60,
      entryMaxMs: 600_000,
      rotationBlocks: 60,
      anchorBlocks: 600,
    };
    const keyholders = { keyId: ZERO, threshold: 1, publicKey: ZERO, memberKeys: [ZERO], sharingEpoch: 0 };
    const genesis = { version: 1, chain: CHAIN, eip155Id: 1, timeMs: NOW_MS - 1_000, params, nodes, balances: [], keyholders };
    return new Crowd(genesis, consensus, service);
  }

  /** A header signed by these nodes. */
  async header(
    height: number,
    signers: readonly number[],
    change: Partial<FinalHeader["ledger"]> = {},
    timeMs = NOW_MS,
  ): Promise<FinalHeader> {
    const nextValidators = cidOfDagCbor(encode(this.genesis.nodes.map(({ node }) => NodeShape.write(node))));
    const healthHead = { txsRoot: ZERO, receiptsRoot: ZERO, stateRoot: ZERO };
    const ledger = {
      version: 1,
      valueHead: ZERO,
      healthHead,
      crossRoot: ZERO,
      nextEpoch: 0,
      nextValidators,
      paramsHash: ZERO,
      ...change,
    };
    const ledgerHeader = cidOfDagCbor(encodeAs(LedgerHeaderShape, ledger));
    const header = {
      version: 1,
      chain: CHAIN,
      height,
      epoch: 0,
      turn: 0,
      slot: 0,
      timeMs,
      parent: null,
      lastCommit: null,
      evidence: null,
      ledgerHeader,
    };
    const blockId = cidOfDagCbor(encodeAs(ConsensusHeaderShape, header));
    const message = signingBytes("vote", CHAIN, 2, 0, height, 0, blockId);
    const signatures = [];
    for (const index of signers) signatures.push({ index, signature: await this.#consensus[index]!.sign(message) });
    return { header, ledger, commit: { blockId, round: 0, signatures } };
  }

  async headerBytes(height: number, signers: readonly number[]): Promise<Bytes> {
    return encodeAs(FinalHeaderShape, await this.header(height, signers));
  }

  readonly fetch: Fetch = async (url, init) => {
    const { host, pathname, searchParams } = new URL(url);
    const index = Number(host.slice(1));
    this.asked.push([index, pathname]);
    const body = init.body instanceof Uint8Array ? (init.body as Bytes) : new Uint8Array(0);
    const answer = (await this.answer(index, pathname, body)) ?? (await this.#honest(index, pathname, searchParams));
    if (answer === "hangs") return hang(init.signal!);
    return answer instanceof Uint8Array ? new Response(answer) : new Response(answer.text, { status: answer.status });
  };

  async #honest(index: number, path: string, query: URLSearchParams): Promise<Bytes | Refusal> {
    if (path === "/v1/genesis") return encodeAs(GenesisShape, this.genesis);
    if (path !== "/v1/identity") return refusal("not_found", 404);
    const nonce = Uint8Array.from(Buffer.from(query.get("nonce")!, "hex"));
    return this.identity(index, nonce);
  }

  async identity(index: number, nonce: Bytes, as = index): Promise<Bytes> {
    const signature = await this.#service[as]!.sign(signingBytes("identity", CHAIN, nonce, index));
    return encodeAs(IdentityShape, { node: index, signature });
  }

  /** A node's signature with the key it signs receipts with. */
  sign(index: number, message: Bytes): Promise<Bytes> {
    return this.#service[index]!.sign(message);
  }

  hostsAsked(path: string): number[] {
    return [...new Set(this.asked.filter(([, asked]) => asked.startsWith(path)).map(([host]) => host))];
  }
}

function hang(signal: AbortSignal): Promise<Response> {
  return new Promise((_, reject) => {
    const stop = setInterval(() => {}, 1_000);
    signal.addEventListener("abort", () => {
      clearInterval(stop);
      reject(signal.reason as Error);
    });
  });
}
