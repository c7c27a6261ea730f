// What a node says when it erased: believed when it signed for these records of this feed.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { PeerFault } from "../errors.ts";
import { verify } from "../keys/sign.ts";
import { deletionMessage, type SignedDeletion, SignedDeletionShape } from "../terms/mailbox.ts";
import type { Mail } from "./mail.ts";
import type { Network } from "./network.ts";
import type { NodeClient } from "./node.ts";

/** Erases records of a feed at one node; its receipt. `node.bad_answer` for anything but that. */
export async function eraseAt(
  network: Network,
  node: NodeClient,
  own: Mail,
  feed: Bytes,
  records: readonly Bytes[],
): Promise<SignedDeletion> {
  const signed = node.decoded(SignedDeletionShape, await own.act(node, "erase", 0, records));
  const { receipt, signature } = signed;
  const asked = new Set(records.map(toHex));
  const index = await network.indexOf(node);
  const ours = equal(receipt.chain, network.chain) && equal(receipt.address, feed);
  const fits = ours && receipt.node === index && receipt.records.every((record) => asked.has(toHex(record)));
  if (!fits || !verify(network.serviceKeys[index]!, deletionMessage(receipt), signature)) {
    throw new PeerFault("node.bad_answer", "not this node's receipt of these records", { url: node.url });
  }
  return signed;
}
