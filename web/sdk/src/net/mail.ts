// Signed mailbox questions; what comes back is checked by whoever uses it.

import { type Bytes, toHex } from "../bytes.ts";
import { HceError, PeerFault } from "../errors.ts";
import { systemRandom } from "../keys/random.ts";
import type { SigningKey } from "../keys/sign.ts";
import {
  type ActKind,
  actMessage,
  type MailboxAct,
  type MailItem,
  MailPageShape,
  MAX_PAGE_ITEMS,
  type Ownership,
  type ReadKind,
  readMessage,
  type RecordsPage,
  RecordsPageShape,
  SignedActShape,
  SignedReadShape,
} from "../terms/mailbox.ts";
import { type Network, requireOne } from "./network.ts";
import type { NodeClient } from "./node.ts";

/** Bound of one walk through a stream: five times what a node keeps at one address. */
const MAX_PAGES = 1_000;
const NONCE_BYTES = 32;

/**
 * One place in the mailbox as its reader sees it: a feed, a log or an inbox, and the key that may read it. `owner` is given where the
 * compartment's owner asks as such; `key` is then the owner key it names. Every request is signed for one node: at another it is worth
 * nothing.
 */
export class Mail {
  readonly #network: Network;
  readonly #place: readonly Bytes[];
  readonly #key: SigningKey;
  readonly #owner: Ownership | null;

  constructor(network: Network, place: readonly Bytes[], key: SigningKey, owner: Ownership | null = null) {
    this.#network = network;
    this.#place = place;
    this.#key = key;
    this.#owner = owner;
  }

  /** Every item any node holds, each once. One node alone may lack some or keep them back; at least one must answer. */
  async items(what: ReadKind): Promise<readonly Bytes[]> {
    const walks = requireOne(await this.#network.everyNode((node) => this.walk(node, what)));
    const found = new Map<string, Bytes>();
    for (const walk of walks) for (const { data } of walk) found.set(toHex(data), data);
    return [...found.values()];
  }

  /** Every item of one node, in its order: nodes number on their own. */
  async walk(node: NodeClient, what: ReadKind): Promise<readonly MailItem[]> {
    const found: MailItem[] = [];
    let position = 0;
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      const page = node.decoded(MailPageShape, await this.#read(node, what, position, []));
      for (const item of page.items) {
        if (item.seq <= position) throw new PeerFault("node.bad_answer", "items out of order", { url: node.url });
        position = item.seq;
      }
      found.push(...page.items);
      if (!page.more || page.items.length === 0) break;
    }
    return found;
  }

  /** What one node holds of these records: envelopes (and, for the owner, wraps). */
  async records(node: NodeClient, what: ReadKind, recordIds: readonly Bytes[]): Promise<RecordsPage> {
    const pages: RecordsPage[] = [];
    for (let start = 0; start < recordIds.length; start += MAX_PAGE_ITEMS) {
      const part = recordIds.slice(start, start + MAX_PAGE_ITEMS);
      pages.push(node.decoded(RecordsPageShape, await this.#read(node, what, 0, part)));
    }
    return { found: pages.flatMap((page) => page.found), erased: pages.flatMap((page) => page.erased) };
  }

  /** One change at one node, not signed yet: `actMessage` of it is what will be. */
  async draft(node: NodeClient, what: ActKind, number: number, records: readonly Bytes[] = []): Promise<MailboxAct> {
    return { ...(await this.#request(node)), what, number, records };
  }

  /** One change at one node; the answer's bytes. */
  async act(node: NodeClient, what: ActKind, number: number, records: readonly Bytes[] = []): Promise<Bytes> {
    const act = await this.draft(node, what, number, records);
    return node.mailbox("act", SignedActShape, { act, signature: await this.#key.sign(actMessage(act)) });
  }

  /** The same change of one item at every node that has it; nodes number on their own, so it is known by its bytes. */
  async actOn(item: Bytes, from: ReadKind, what: ActKind): Promise<readonly Bytes[]> {
    const name = toHex(item);
    const answers = await this.#network.everyNode(async (node) => {
      const held = (await this.walk(node, from)).find((one) => toHex(one.data) === name);
      if (held === undefined) throw new HaveNot();
      return this.act(node, what, held.seq);
    });
    return requireOne(answers);
  }

  async #read(node: NodeClient, what: ReadKind, after: number, records: readonly Bytes[]): Promise<Bytes> {
    const read = { ...(await this.#request(node)), what, after, limit: MAX_PAGE_ITEMS, records };
    return node.mailbox("read", SignedReadShape, { read, signature: await this.#key.sign(readMessage(read)) });
  }

  async #request(node: NodeClient): Promise<Pick<MailboxAct, "chain" | "node" | "place" | "owner" | "timeMs" | "nonce">> {
    return {
      chain: this.#network.chain,
      node: await this.#network.indexOf(node),
      place: this.#place,
      owner: this.#owner,
      timeMs: this.#network.now(),
      nonce: systemRandom(NONCE_BYTES),
    };
  }
}

/** This node does not hold the item; another may. */
class HaveNot extends HceError {
  constructor() {
    super("not_found");
  }
}
