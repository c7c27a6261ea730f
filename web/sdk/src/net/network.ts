// All nodes of a network as one: submit anywhere, believe nothing that is not proven.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { isNamed } from "../codec/cid.ts";
import { Failed, HceError, known, Malformed, PeerFault, Remote, Unavailable } from "../errors.ts";
import { type Placed, readManifest } from "../hcefs/manifest.ts";
import type { SigningKey } from "../keys/sign.ts";
import { LightClient, MAX_HEADER_AGE_MS } from "../proofs/light.ts";
import { type Genesis, genesisCid, type HealthReceipt, MAX_STATE_KEYS } from "../terms/chain.ts";
import type { Kind, Payload } from "../terms/payloads.ts";
import { HealthReader } from "../terms/states.ts";
import { type Body, makeBody, type Role, signTx } from "../terms/transactions.ts";
import { type Ask, Nodes, PACE, type Pace, Refusals } from "./asking.ts";
import { Identities } from "./identities.ts";
import { type Fetch, NodeClient } from "./node.ts";
import { ShardFetcher } from "./shards.ts";

/** How long a caller waits for one transaction to become final. */
const FINAL_WAIT_MS = 20_000;
/** Placement manifests remembered. */
const MAX_MANIFESTS = 64;

export interface JoinOptions {
  /** A genesis, or its CID (pinned in a page, compared by telephone). Without it the first that is served: for development. */
  readonly trust?: Genesis | Bytes;
  /** Null for a chain that is known to have halted. */
  readonly maxHeaderAgeMs?: number | null;
  readonly fetch?: Fetch;
  /** How long nodes are waited for. */
  readonly pace?: Partial<Pace>;
  /** Unix milliseconds; the platform's clock unless handed in. */
  readonly now?: () => number;
}

export class Network {
  readonly nodes: readonly NodeClient[];
  readonly genesis: Genesis;
  readonly light: LightClient;
  readonly now: () => number;
  readonly #asking: Nodes;
  readonly #identities: Identities;
  readonly #shards: ShardFetcher;
  readonly #manifests = new Map<string, Promise<ReadonlyMap<string, Placed>>>();

  private constructor(nodes: readonly NodeClient[], genesis: Genesis, options: JoinOptions) {
    const { maxHeaderAgeMs = MAX_HEADER_AGE_MS } = options;
    this.nodes = nodes;
    this.genesis = genesis;
    this.now = options.now ?? Date.now;
    this.light = new LightClient(genesis, this.now, maxHeaderAgeMs);
    const pace = { ...PACE, ...options.pace };
    this.#asking = new Nodes(nodes, genesis.nodes.length, pace);
    this.#identities = new Identities(nodes, genesis, pace.shortMs);
    this.#shards = new ShardFetcher((node, cids) => this.#askShards(node, cids), pace.hedgeMs);
  }

  /**
   * Connects. Every node is asked for its genesis; those of another network are left out. A node that does not answer stays: it is
   * believed no more than the others. `node.wrong_network` when no node is left.
   */
  static async join(urls: readonly string[], options: JoinOptions = {}): Promise<Network> {
    const nodes = urls.map((url) => new NodeClient(url, options.fetch === undefined ? {} : { fetch: options.fetch }));
    const served = await Promise.all(nodes.map((node) => genesisOf(node, options.pace?.shortMs ?? PACE.shortMs)));
    const { trust } = options;
    const trusted = served.filter((one): one is Genesis => !(one instanceof HceError));
    const genesis = trust instanceof Uint8Array ? trusted.find((one) => equal(genesisCid(one), trust)) : (trust ?? trusted[0]);
    if (genesis === undefined) {
      const failure = served.find((one): one is HceError => one instanceof HceError);
      throw trusted.length > 0 ? new PeerFault("node.wrong_network") : (failure ?? new Unavailable("node.unreachable", "no node"));
    }
    const name = genesisCid(genesis);
    const known = nodes.filter((_, i) => {
      const one = served[i]!;
      return one instanceof HceError || equal(genesisCid(one), name);
    });
    if (known.length === 0) throw new PeerFault("node.wrong_network", "", { expected: toHex(name) });
    return new Network(known, genesis, options);
  }

  get chain(): Bytes {
    return this.genesis.chain;
  }

  /** Public keys the nodes sign receipts with, in node order. */
  get serviceKeys(): readonly Bytes[] {
    return this.light.nodes.map((node) => node.serviceKey);
  }

  /** The first good answer; a refusal counts only when enough nodes give the same. */
  anyNode<T>(ask: Ask<T>): Promise<T> {
    return this.#asking.first(ask);
  }

  /** What each node answered, in node order, errors included. */
  everyNode<T>(ask: Ask<T>, enough?: number): Promise<(T | HceError)[]> {
    return this.#asking.every(ask, enough);
  }

  /** Why too few of these answers are good: a refusal only when so many gave one that one of them is honest. */
  reasonOf(answers: readonly unknown[]): HceError {
    const refusals = new Refusals(this.#asking.oneHonest);
    for (const answer of answers) if (answer instanceof HceError) refusals.add(answer);
    return refusals.reason();
  }

  /** Height of the newest header that is proven final, by enough nodes' knowledge that one of them is honest. */
  async head(): Promise<number> {
    const see = async (node: NodeClient): Promise<void> => void this.light.head(await node.final());
    await this.#asking.several(see, this.#asking.oneHonest, new Refusals(this.#asking.oneHonest));
    return this.light.height;
  }

  /** Makes, signs, submits and waits; the proven receipt. `validFor` blocks. */
  async transact<K extends Kind>(
    kind: K,
    payload: Payload<K>,
    payer: Bytes | null,
    signers: readonly (readonly [Role, SigningKey])[],
    everywhere = false,
  ): Promise<HealthReceipt> {
    const body = await this.body(kind, payload, payer);
    return this.submit(await signTx(body, signers), body.id, everywhere);
  }

  /** An unsigned transaction that lives for half of the replay window; for screens that show it before it is signed. */
  async body<K extends Kind>(kind: K, payload: Payload<K>, payer: Bytes | null): Promise<Body<K>> {
    const validUntil = (await this.head()) + Math.floor(this.genesis.params.replayWindow / 2);
    return makeBody(this.chain, kind, payload, payer, validUntil);
  }

  /**
   * Submits signed bytes and waits for their proven receipt; what was submitted and became final before is found. To enough nodes that
   * one of them is honest, or to all. Throws the refusal enough of them agree on, `tx.not_final_in_time`, `Failed`.
   */
  async submit(raw: Bytes, id: Bytes, everywhere = false): Promise<HealthReceipt> {
    const refusals = new Refusals(this.#asking.oneHonest);
    const ask = async (node: NodeClient): Promise<void> => {
      try {
        await node.submitHealth(raw);
      } catch (error) {
        if (known(error).code !== "tx.replayed") throw error;
      }
    };
    try {
      const wanted = everywhere ? this.nodes.length : this.#asking.oneHonest;
      return await this.#asking.tell(ask, () => this.waitFinal(id), wanted, refusals);
    } catch (error) {
      throw known(error).code === "tx.not_final_in_time" ? (refusals.agreed ?? error) : error;
    }
  }

  /** The proven receipt from whichever node has it first. */
  async waitFinal(id: Bytes): Promise<HealthReceipt> {
    const ask = async (node: NodeClient, leftMs: number): Promise<HealthReceipt> =>
      this.light.transaction(id, await node.healthTx(id, leftMs));
    const receipt = await this.#asking.wait(ask, FINAL_WAIT_MS);
    if (!receipt.ok) throw new Failed(receipt.code, "the transaction is final and failed", { txId: toHex(id) });
    return receipt;
  }

  /** Typed reads over proven values of these health keys, no older than anything this client has seen. */
  async reader(...keys: readonly Bytes[]): Promise<HealthReader> {
    const values = new Map<string, Bytes | null>();
    for (let start = 0; start < keys.length; start += MAX_STATE_KEYS) {
      const part = keys.slice(start, start + MAX_STATE_KEYS);
      const seen = this.light.height;
      const found = await this.anyNode(async (node) => this.light.state(part, await node.healthState(part), seen));
      for (const [key, value] of found) values.set(key, value);
    }
    return new HealthReader(values);
  }

  /** Which node this is, proven. What is signed for that index is good there only. */
  indexOf(node: NodeClient): Promise<number> {
    return this.#identities.of(node);
  }

  /** All addresses that have proven to speak with the node of this index, at least one. */
  addresses(index: number): Promise<readonly NodeClient[]> {
    return this.#identities.at(index);
  }

  /** A ciphertext, verified: gathered from the shards its placement names, else assembled by any node. */
  async ciphertext(cid: Bytes, placement: Bytes): Promise<Bytes> {
    let failure: HceError | null = null;
    try {
      const placed = await this.#placed(placement, cid);
      if (placed.k > 1) return await this.#shards.content(placed);
    } catch (error) {
      failure = known(error);
    }
    try {
      return await this.blob(cid);
    } catch (error) {
      throw error instanceof Unavailable && failure !== null ? failure : error;
    }
  }

  /** Bytes of that name from the first node that gives them; a node that lacks them is not the last word. */
  blob(cid: Bytes): Promise<Bytes> {
    return this.anyNode(async (node) => {
      let content: Bytes;
      try {
        content = await node.blob(cid);
      } catch (error) {
        throw error instanceof Remote ? new Unavailable(error.code, "", { url: node.url }) : error;
      }
      if (!isNamed(cid, content)) throw new PeerFault("blob.forged", "", { url: node.url });
      return content;
    });
  }

  /** Where a ciphertext lies, by a manifest that any node may give. */
  async #placed(placement: Bytes, ciphertext: Bytes): Promise<Placed> {
    const name = toHex(placement);
    const reading = this.#manifests.get(name) ?? this.#manifest(placement);
    this.#manifests.set(name, reading);
    if (this.#manifests.size > MAX_MANIFESTS) this.#manifests.delete(this.#manifests.keys().next().value!);
    const placed = (await reading).get(toHex(ciphertext));
    if (placed === undefined) throw new Malformed("names another ciphertext", {}, "placement.invalid");
    return placed;
  }

  async #manifest(placement: Bytes): Promise<ReadonlyMap<string, Placed>> {
    try {
      const placed = readManifest(await this.blob(placement), this.chain);
      return new Map(placed.map((one) => [toHex(one.ciphertext), one]));
    } catch (error) {
      this.#manifests.delete(toHex(placement));
      throw error;
    }
  }

  /** The best answer of that node's addresses: who only passes its identity on may answer in its place. */
  async #askShards(index: number, cids: readonly Bytes[]): Promise<readonly (Bytes | null)[]> {
    let failure: HceError = new Unavailable("node.unreachable", "", { node: index });
    let best: readonly (Bytes | null)[] | null = null;
    for (const node of await this.addresses(index)) {
      try {
        const found = await node.shards(cids);
        if (best === null || countNamed(cids, found) > countNamed(cids, best)) best = found;
        if (countNamed(cids, best) === cids.length) break;
      } catch (error) {
        failure = known(error);
      }
    }
    if (best === null) throw failure;
    return best;
  }
}

/** How many of the answers are what they were asked for by name. */
function countNamed(cids: readonly Bytes[], answers: readonly (Bytes | null)[]): number {
  return cids.filter((cid, place) => answers[place] != null && isNamed(cid, answers[place])).length;
}

/** At least one node took it; else the reason of the first that did not. */
export function requireOne<T>(answers: readonly (T | HceError)[]): readonly T[] {
  const good = answers.filter((answer): answer is T => !(answer instanceof HceError));
  const [first] = answers;
  if (good.length === 0) throw first instanceof HceError ? first : new Unavailable("node.unreachable");
  return good;
}

async function genesisOf(node: NodeClient, waitMs: number): Promise<Genesis | HceError> {
  try {
    return await node.with({ timeoutMs: waitMs }).genesis();
  } catch (error) {
    return known(error);
  }
}
