// Fetches what the owner's audit judges: the log of every node, grants and their entries as proven, anchors and their proofs.

import { type Bytes, toHex } from "../bytes.ts";
import { HceError, known, PeerFault, Refused } from "../errors.ts";
import { type AnchorProof, type GrantBody, MAX_LEAVES_ASKED, receiptLeaf, type SignedReceipt } from "../terms/grants.ts";
import { type EntryState, stateKey } from "../terms/states.ts";
import { type AnchorReport, checkAnchors, periodOf } from "../vault/anchors.ts";
import type { GrantOnChain } from "../vault/auditing.ts";
import type { Network } from "./network.ts";
import type { NodeClient } from "./node.ts";

/** Of up to 1,000 access entries, under one grant. */
const MAX_ENTRY_PAGES = 1_000;
/** At the entries of a grant that is being used meanwhile. */
const MAX_LOOKS = 2;

/** Grant and entries as of one height. When no node gives all entries the audit names what is missing. `not_found`. */
export async function grantOnChain(network: Network, grantId: Bytes, body: GrantBody | null): Promise<GrantOnChain> {
  let short: GrantOnChain | null = null;
  try {
    return await network.anyNode(async (node) => {
      const found = await provenEntries(network, node, grantId, body);
      if (found.entries.length === found.state.entries) return found;
      short = found;
      throw new PeerFault("log.entries_withheld", "", {
        expected: found.state.entries,
        actual: found.entries.length,
        url: node.url,
      });
    });
  } catch (error) {
    if (known(error).code === "log.entries_withheld" && short !== null) return short;
    throw error;
  }
}

/** Whether each receipt of a log stands in the list its node put on chain. */
export async function checkReceipts(network: Network, receipts: readonly SignedReceipt[]): Promise<AnchorReport> {
  const { params } = network.genesis;
  const height = await network.head();
  const serviceKey = ({ receipt }: SignedReceipt): Bytes => network.serviceKeys[receipt.node]!;
  const keys = new Map<string, Bytes>();
  for (const one of receipts) {
    for (const key of [stateKey.anchor(serviceKey(one), periodOf(one.receipt, params)), stateKey.entry(one.receipt.entryId)]) {
      keys.set(toHex(key), key);
    }
  }
  const chain = await network.reader(...keys.values());
  const judged = receipts.map((signed) => ({
    signed,
    entry: chain.entry(signed.receipt.entryId),
    anchor: chain.anchor(serviceKey(signed), periodOf(signed.receipt, params)),
  }));
  const proofs = await proofsOf(
    network,
    judged.filter((one) => one.anchor !== null).map((one) => one.signed),
  );
  const known = judged.map((one) => ({ ...one, proofs: proofs.get(toHex(receiptLeaf(one.signed))) ?? [] }));
  return checkAnchors(known, height, params);
}

/** What one node lists, proven. The grant is read after its entries: what was entered meanwhile is fetched in a second look. */
async function provenEntries(network: Network, node: NodeClient, grantId: Bytes, body: GrantBody | null): Promise<GrantOnChain> {
  const entries: EntryState[] = [];
  for (let looks = 1; ; looks += 1) {
    const names = await entryNames(node, grantId, entries.length);
    const proven = await network.reader(...names.map(stateKey.entry));
    for (const name of names) {
      const entry = proven.entry(name);
      if (entry === null) throw new PeerFault("log.entry_unproven", "", { entryId: toHex(name), url: node.url });
      entries.push(entry);
    }
    const state = (await network.reader(stateKey.grant(grantId))).grant(grantId);
    if (state === null) throw new Refused("not_found", "grant", { grantId: toHex(grantId) });
    if (entries.length === state.entries || looks === MAX_LOOKS) return { grantId, state, entries: [...entries], body };
  }
}

/** Page after page until one is empty. */
async function entryNames(node: NodeClient, grantId: Bytes, start: number): Promise<readonly Bytes[]> {
  const names: Bytes[] = [];
  for (let pages = 0; pages < MAX_ENTRY_PAGES; pages += 1) {
    const page = await node.entries(grantId, start + names.length);
    if (page.length === 0) break;
    names.push(...page);
  }
  return names;
}

/** What each receipt's own node says, by leaf in hex. */
async function proofsOf(
  network: Network,
  receipts: readonly SignedReceipt[],
): Promise<ReadonlyMap<string, readonly AnchorProof[]>> {
  const leaves = new Map<number, Bytes[]>();
  for (const signed of receipts) leaves.set(signed.receipt.node, [...(leaves.get(signed.receipt.node) ?? []), receiptLeaf(signed)]);
  const found = new Map<string, AnchorProof[]>();
  await Promise.all(
    [...leaves].map(async ([index, asked]) => {
      for (const node of await addressesOrNone(network, index)) await askAddress(node, asked, found);
    }),
  );
  return found;
}

async function addressesOrNone(network: Network, index: number): Promise<readonly NodeClient[]> {
  try {
    return await network.addresses(index);
  } catch (error) {
    if (error instanceof HceError) return [];
    throw error;
  }
}

async function askAddress(node: NodeClient, leaves: readonly Bytes[], found: Map<string, AnchorProof[]>): Promise<void> {
  for (let start = 0; start < leaves.length; start += MAX_LEAVES_ASKED) {
    const part = leaves.slice(start, start + MAX_LEAVES_ASKED);
    try {
      (await node.anchors(part)).forEach((proof, i) => {
        const name = toHex(part[i]!);
        if (proof !== null) found.set(name, [...(found.get(name) ?? []), proof]);
      });
    } catch (error) {
      known(error);
      return;
    }
  }
}
