// Asking several nodes of which some lie, lag or hang, so that none of them has the last word.
//
// Of n nodes n - quorum(n) may be faulty, so among one more of them is an honest one (`oneHonest`: 3 of 9, 1 of 1). What proves itself
// is believed from anybody. A refusal proves nothing and counts when that many nodes give the same. What must arrive is told to that
// many. A node that has not answered after a while gets company, and is asked last from then on.

import { HceError, known, PeerFault, Remote, Unavailable } from "../errors.ts";
import { quorum } from "../terms/chain.ts";
import type { NodeClient } from "./node.ts";

export type Ask<T> = (node: NodeClient) => Promise<T>;

/** How long nodes are waited for, ms. */
export interface Pace {
  /** A node may take so long before the next one is asked too. */
  readonly nextMs: number;
  /** For what needs no work: a genesis, an identity. */
  readonly shortMs: number;
  /** For the slow ones, when most have answered. */
  readonly slowMs: number;
  /** A holder of a shard that has not answered for so long gets company. */
  readonly hedgeMs: number;
}
export const PACE: Pace = { nextMs: 2_000, shortMs: 2_000, slowMs: 5_000, hedgeMs: 1_000 };

/** How much later than it was asked to a node may end a wait. */
const SPARE_MS = 2_000;

/** What was said against one question, and when it is settled that it is so. */
export class Refusals {
  readonly #agreeing: number;
  readonly #byCode = new Map<string, Remote[]>();
  #failure: HceError = new Unavailable("node.unreachable", "no node");
  /** The refusal that enough nodes gave alike. */
  agreed: Remote | null = null;

  constructor(agreeing: number) {
    this.#agreeing = agreeing;
  }

  add(error: HceError): void {
    if (!(error instanceof Remote)) {
      this.#failure = error;
      return;
    }
    const alike = [...(this.#byCode.get(error.code) ?? []), error];
    this.#byCode.set(error.code, alike);
    if (alike.length >= this.#agreeing) this.agreed ??= error;
  }

  /** What to throw when nobody is left to ask: a refusal if one of those who refused must be honest. */
  reason(): HceError {
    const refused = [...this.#byCode.values()].sort((left, right) => right.length - left.length);
    const count = refused.reduce((sum, alike) => sum + alike.length, 0);
    const [[most] = []] = refused;
    return most !== undefined && count >= this.#agreeing ? most : this.#failure;
  }
}

interface Asked<T> {
  readonly node: NodeClient;
  readonly sinceMs: number;
  readonly answer: Promise<T | HceError>;
}

/** The nodes a client knows of a network of n. */
export class Nodes {
  readonly #nodes: readonly NodeClient[];
  readonly #pace: Pace;
  #order: readonly NodeClient[];
  /** So many nodes that one of them is honest. */
  readonly oneHonest: number;
  readonly quorum: number;

  constructor(nodes: readonly NodeClient[], n: number, pace: Pace) {
    this.#nodes = nodes;
    this.#pace = pace;
    this.#order = nodes;
    this.oneHonest = Math.min(n - quorum(n) + 1, nodes.length);
    this.quorum = quorum(nodes.length);
  }

  /** The first answer. An unreachable, failing or lying node is passed over; a refusal counts when enough nodes give it. */
  async first<T>(ask: Ask<T>): Promise<T> {
    return (await this.several(ask, 1, new Refusals(this.oneHonest)))[0]!;
  }

  /**
   * The answers of `wanted` nodes, asked at the same time, and more nodes for those that fail; at least one answer. `taken` is called
   * with the first. Throws the agreed refusal unless a node has answered before, else the reason of `refusals`.
   */
  async several<T>(
    ask: Ask<T>,
    wanted: number,
    refusals: Refusals,
    taken: () => void = () => {},
    stop = new AbortController(),
  ): Promise<T[]> {
    const left = [...this.#order];
    const running = new Set<Asked<T>>();
    const found: T[] = [];
    let together = wanted;
    try {
      while (found.length < wanted) {
        while (left.length > 0 && running.size < together) running.add(asked(left.shift()!, ask, stop.signal));
        if (running.size === 0) break;
        const done = await firstDone(running, left.length > 0 ? this.#pace.nextMs : null);
        if (done === null) {
          together = running.size + 1;
          continue;
        }
        running.delete(done.asked);
        if (done.answer instanceof HceError) {
          refusals.add(done.answer);
          if (refusals.agreed !== null && found.length === 0) throw refusals.agreed;
          continue;
        }
        together -= 1;
        found.push(done.answer);
        taken();
      }
    } finally {
      stop.abort();
      this.#askLast(new Set([...running].filter((one) => Date.now() - one.sinceMs >= this.#pace.nextMs).map((one) => one.node)));
    }
    if (found.length === 0) throw refusals.reason();
    return found;
  }

  /** What each node answered, in node order, errors included. Once `enough` gave good answers the others get a little more time. */
  async every<T>(ask: Ask<T>, enough = this.quorum): Promise<(T | HceError)[]> {
    const stop = new AbortController();
    const answers = new Map<NodeClient, T | HceError>();
    const running = new Set(this.#nodes.map((node) => asked(node, ask, stop.signal)));
    try {
      while (running.size > 0) {
        const good = [...answers.values()].filter((answer) => !(answer instanceof HceError)).length;
        const done = await firstDone(running, good >= enough ? this.#pace.slowMs : null);
        if (done === null) break;
        running.delete(done.asked);
        answers.set(done.asked.node, done.answer);
      }
    } finally {
      stop.abort();
    }
    const late = (node: NodeClient): HceError => new Unavailable("node.unreachable", "slower than the others", { url: node.url });
    return this.#nodes.map((node) => (answers.has(node) ? (answers.get(node) as T | HceError) : late(node)));
  }

  /** Tells `wanted` nodes something and, as soon as one has taken it, waits for what comes of it. */
  async tell<T>(ask: Ask<void>, wait: () => Promise<T>, wanted: number, refusals: Refusals): Promise<T> {
    const stop = new AbortController();
    let taken = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      taken = resolve;
    }).then(wait);
    const telling = this.several(ask, wanted, refusals, taken, stop);
    try {
      await Promise.race([telling, waiting]);
      return await waiting;
    } finally {
      stop.abort();
      telling.catch(known); // it may still fail, and then nobody asks any more
    }
  }

  /**
   * What becomes final within `waitMs`: `ask` gets a node and the milliseconds that are left. A node that knows nothing of it does not
   * end the wait; `tx.not_final_in_time` when all who answered know nothing.
   */
  async wait<T>(ask: (node: NodeClient, leftMs: number) => Promise<T>, waitMs: number): Promise<T> {
    const deadline = Date.now() + waitMs;
    let unknown = false;
    const one = async (node: NodeClient): Promise<T> => {
      const leftMs = Math.max(deadline - Date.now(), 0);
      try {
        return await ask(node.with({ timeoutMs: leftMs + SPARE_MS }), leftMs);
      } catch (error) {
        if (known(error).code !== "not_found") throw error;
        unknown = true;
        throw notFinalInTime();
      }
    };
    try {
      return await this.first(one);
    } catch (error) {
      if (unknown && (error instanceof Unavailable || error instanceof PeerFault)) throw notFinalInTime();
      throw error;
    }
  }

  #askLast(late: ReadonlySet<NodeClient>): void {
    if (late.size === 0) return;
    this.#order = [...this.#order.filter((node) => !late.has(node)), ...late];
  }
}

function asked<T>(node: NodeClient, ask: Ask<T>, signal: AbortSignal): Asked<T> {
  const answer = ask(node.with({ signal })).catch((error: unknown): HceError => {
    const named = known(error);
    const down = named instanceof Remote && named.status >= 500;
    return down ? new Unavailable(named.code, "", { url: node.url }) : named;
  });
  return { node, sinceMs: Date.now(), answer };
}

/** The first that is done; null when none is within the time. */
async function firstDone<T>(
  running: ReadonlySet<Asked<T>>,
  withinMs: number | null,
): Promise<{ asked: Asked<T>; answer: T | HceError } | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const each = [...running].map(async (one) => ({ asked: one, answer: await one.answer }));
  const late = new Promise<null>((resolve) => {
    if (withinMs !== null) timer = setTimeout(() => resolve(null), withinMs);
  });
  try {
    return await Promise.race([...each, late]);
  } finally {
    clearTimeout(timer);
  }
}

function notFinalInTime(): Unavailable {
  return new Unavailable("tx.not_final_in_time");
}
