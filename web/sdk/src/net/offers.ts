// What an owner leaves with others: an offer in an organisation's inbox, a contact card for authors.

import type { Bytes } from "../bytes.ts";
import { Remote } from "../errors.ts";
import { systemRandom } from "../keys/random.ts";
import { type SigningKey, verify } from "../keys/sign.ts";
import { cardMessage, type SignedCard } from "../terms/grants.ts";
import { type InboxPost, type Ownership, postMessage, SignedPostShape } from "../terms/mailbox.ts";
import { type Network, requireOne } from "./network.ts";

/** A published card with less than this to live is replaced: half of a card's life. */
const CARD_RENEW_MS = 15 * 24 * 3_600_000;
const NONCE_BYTES = 32;

/** Into the inbox at every node; at least one took it. */
export async function postTo(network: Network, orgId: Bytes, data: Bytes, owner: Ownership, key: SigningKey): Promise<void> {
  const answers = await network.everyNode(async (node) => {
    const post: InboxPost = {
      chain: network.chain,
      node: await network.indexOf(node),
      orgId,
      owner,
      data,
      timeMs: network.now(),
      nonce: systemRandom(NONCE_BYTES),
    };
    await node.mailbox("post", SignedPostShape, { post, signature: await key.sign(postMessage(post)) });
  });
  requireOne(answers);
}

/** Has a card at every node that authors can fetch for a while yet; the newest that is out now. */
export async function publish(network: Network, fresh: SignedCard, feed: Bytes): Promise<SignedCard> {
  const dueMs = network.now() + CARD_RENEW_MS;
  const answers = await network.everyNode(async (node) => {
    const held = await cardOrNull(node.card(feed));
    const current =
      held !== null &&
      verify(fresh.card.ownerKey, cardMessage(held.card), held.signature) &&
      held.card.version === fresh.card.version &&
      held.card.expiresMs >= dueMs;
    if (current) return held;
    await node.publishCard(fresh);
    return fresh;
  });
  return requireOne(answers).reduce((newest, one) => (one.card.issuedMs > newest.card.issuedMs ? one : newest));
}

async function cardOrNull(asked: Promise<SignedCard>): Promise<SignedCard | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Remote && error.status === 404) return null;
    throw error;
  }
}
