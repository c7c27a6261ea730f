// Which node is behind which address. A node proves its index with a signature over a nonce that was made for this question.
//
// A relay is possible: who passes the nonce on to the real node answers with its signature. So an index may have several addresses, and
// none of them keeps the client from the others: `at` gives all, and whoever asks a node by its index verifies what comes back.

import { known, Unavailable } from "../errors.ts";
import { systemRandom } from "../keys/random.ts";
import { verify } from "../keys/sign.ts";
import type { Genesis } from "../terms/chain.ts";
import { identityMessage } from "../terms/mailbox.ts";
import type { NodeClient } from "./node.ts";

const NONCE_BYTES = 32;

/** The proven indexes of these addresses, asked when first needed and again while a proof is missing. */
export class Identities {
  readonly #nodes: readonly NodeClient[];
  readonly #genesis: Genesis;
  readonly #waitMs: number;
  readonly #proven = new Map<string, number>();
  readonly #asked = new Set<string>();
  readonly #asking = new Map<string, Promise<void>>();

  /** `waitMs`: how long a node may take to show which one it is. */
  constructor(nodes: readonly NodeClient[], genesis: Genesis, waitMs: number) {
    this.#nodes = nodes;
    this.#genesis = genesis;
    this.#waitMs = waitMs;
  }

  /** The index of one address; `node.unreachable` when it has not proven any. */
  async of(node: NodeClient): Promise<number> {
    await this.#learn(node);
    const index = this.#proven.get(node.url);
    if (index === undefined) throw new Unavailable("node.unreachable", "has not proven which node it is", { url: node.url });
    return index;
  }

  /** All addresses that have proven this index, at least one; `node.unreachable` otherwise. Each is asked once, even when one is known. */
  async at(index: number): Promise<readonly NodeClient[]> {
    const proven = (): NodeClient[] => this.#nodes.filter((node) => this.#proven.get(node.url) === index);
    await this.#learnAll(this.#nodes.filter((node) => !this.#asked.has(node.url)));
    if (proven().length === 0) await this.#learnAll(this.#nodes);
    const found = proven();
    if (found.length === 0) throw new Unavailable("node.unreachable", "no address has proven to be this node", { node: index });
    return found;
  }

  async #learnAll(nodes: readonly NodeClient[]): Promise<void> {
    await Promise.all(nodes.map((node) => this.#learn(node)));
  }

  /** Whoever wants to know while the node is being asked waits for the same answer. */
  #learn(node: NodeClient): Promise<void> {
    if (this.#proven.has(node.url)) return Promise.resolve();
    const asking = this.#asking.get(node.url) ?? this.#ask(node).finally(() => this.#asking.delete(node.url));
    this.#asking.set(node.url, asking);
    return asking;
  }

  /** By this network's own client: one that a caller derived ends with that caller, and others may be waiting. */
  async #ask(node: NodeClient): Promise<void> {
    const nonce = systemRandom(NONCE_BYTES);
    const own = this.#nodes.find((one) => one.url === node.url) ?? node;
    try {
      const { node: index, signature } = await own.with({ timeoutMs: this.#waitMs }).identity(nonce);
      const { chain, nodes } = this.#genesis;
      const key = nodes[index]?.node.serviceKey;
      if (key !== undefined && verify(key, identityMessage(chain, nonce, index), signature)) this.#proven.set(node.url, index);
    } catch (error) {
      known(error);
    } finally {
      this.#asked.add(node.url);
    }
  }
}
