// Ciphertexts out of shards: k good ones of each content, wherever they lie, with few requests.

import { type Bytes, toHex } from "../bytes.ts";
import { known, Unavailable } from "../errors.ts";
import { contentOf, isShard, type Placed } from "../hcefs/manifest.ts";

/** Shards in one request. */
const MAX_SHARDS_ASKED = 128;
/** Questions that come within this time travel together. */
const TOGETHER_MS = 5;

/** (node, shard names) -> what that node has of them, in order; the list may end early. */
export type AskShards = (node: number, cids: readonly Bytes[]) => Promise<readonly (Bytes | null)[]>;

interface Wish {
  readonly cid: Bytes;
  readonly resolve: (found: Bytes | null) => void;
}

/** Collects questions to the same node into one request. */
export class ShardFetcher {
  readonly #ask: AskShards;
  readonly #hedgeMs: number;
  readonly #wishes = new Map<number, Wish[]>();

  /** `hedgeMs`: a holder that has not answered for so long gets company. */
  constructor(ask: AskShards, hedgeMs: number) {
    this.#ask = ask;
    this.#hedgeMs = hedgeMs;
  }

  /** The ciphertext of a placed content, verified. `blob.unrecoverable`, `blob.miscoded`. */
  async content(placed: Placed): Promise<Bytes> {
    return contentOf(placed, await this.#gather(placed));
  }

  /** k good shards by number. The content's own parts are asked for first: they need no arithmetic. */
  async #gather(placed: Placed): Promise<ReadonlyMap<number, Bytes>> {
    const good = new Map<number, Bytes>();
    const waiting = placed.shards.map((_, number) => number);
    const running = new Map<number, Promise<readonly [number, Bytes | null]>>();
    const start = (): void => {
      const number = waiting.shift()!;
      running.set(
        number,
        this.#fetch(placed.nodes[number]!, placed.shards[number]!).then((shard) => [number, shard] as const),
      );
    };
    while (good.size < placed.k) {
      while (waiting.length > 0 && good.size + running.size < placed.k) start();
      if (running.size === 0) {
        throw new Unavailable("blob.unrecoverable", "", { cid: toHex(placed.ciphertext), needed: placed.k, good: good.size });
      }
      const done = await within(Promise.race(running.values()), waiting.length > 0 ? this.#hedgeMs : null);
      if (done === null) {
        start();
        continue;
      }
      const [number, shard] = done;
      running.delete(number);
      if (shard !== null && isShard(placed, number, shard)) good.set(number, shard);
    }
    return good;
  }

  #fetch(node: number, cid: Bytes): Promise<Bytes | null> {
    return new Promise((resolve) => {
      const wishes = this.#wishes.get(node) ?? [];
      if (wishes.length === 0) setTimeout(() => this.#send(node), TOGETHER_MS);
      this.#wishes.set(node, [...wishes, { cid, resolve }]);
    });
  }

  #send(node: number): void {
    const wishes = this.#wishes.get(node) ?? [];
    this.#wishes.delete(node);
    for (let start = 0; start < wishes.length; start += MAX_SHARDS_ASKED) {
      void this.#answer(node, wishes.slice(start, start + MAX_SHARDS_ASKED));
    }
  }

  /** A list that ends early is asked for again from there, as long as it brings something. */
  async #answer(node: number, wishes: readonly Wish[]): Promise<void> {
    let left = wishes;
    try {
      while (left.length > 0) {
        const found = await this.#ask(
          node,
          left.map((wish) => wish.cid),
        );
        if (found.length === 0) break;
        left.slice(0, found.length).forEach((wish, i) => wish.resolve(found[i]!));
        left = left.slice(found.length);
      }
    } catch (error) {
      known(error);
    } finally {
      for (const wish of left) wish.resolve(null);
    }
  }
}

async function within<T>(answer: Promise<T>, ms: number | null): Promise<T | null> {
  if (ms === null) return answer;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
