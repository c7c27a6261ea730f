// Earlier keys of a compartment, at the nodes: kept by its owner, found again by the words, followed by grantees.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { HceError, known, Refused, Remote, Unavailable } from "../errors.ts";
import { CompartmentKeys, ownerDigest } from "../keys/compartments.ts";
import type { Root } from "../keys/derive.ts";
import { quorum } from "../terms/chain.ts";
import { logAddress } from "../terms/grants.ts";
import { type SignedHandover } from "../terms/handovers.ts";
import { type CompartmentState, stateKey } from "../terms/states.ts";
import { firstOwnEpoch, openEarlier, verifyHandover } from "../vault/handovers.ts";
import type { NodeClient } from "./node.ts";
import { type Network, requireOne } from "./network.ts";
import { Owner } from "./owner.ts";

/** An owner found by words alone; `handover` for compartments whose keys were others before. */
export interface FoundOwner {
  readonly owner: Owner;
  readonly handover: SignedHandover | null;
}

/** Has the earlier keys at quorum(n) nodes; a node that has this very one already says so. `handover.not_kept`. */
export async function keepHandover(network: Network, signed: SignedHandover): Promise<void> {
  const answers = await network.everyNode((node) => node.keepHandover(signed));
  const kept = answers.filter((answer) => !(answer instanceof HceError)).length;
  if (kept < quorum(network.light.nodes.length))
    throw new Unavailable("handover.not_kept", network.reasonOf(answers).code, { kept });
}

/** The newest that any node has of this owner; null when there is none. Throws what the nodes said when none answered. */
export async function keptHandover(network: Network, ownerKey: Bytes, logReadKey: Bytes): Promise<SignedHandover | null> {
  const address = logAddress(logReadKey, ownerKey);
  const answers = requireOne(await network.everyNode((node) => asked(node, address)));
  const valid = answers.filter((one): one is SignedHandover => one !== null && isValid(network, one, ownerKey, logReadKey));
  return valid.sort((left, right) => right.handover.issuedMs - left.handover.issuedMs)[0] ?? null;
}

/**
 * Whose words these are: a compartment they took over, or else the one they opened. Null when they own none; `owner.replaced` when other
 * keys have been put in their place.
 *
 * What they took over comes first: they have signed for it, while anybody who pays can open a compartment for digests that stand in a
 * rotation on chain.
 */
export async function findOwner(network: Network, root: Root, index = 0): Promise<FoundOwner | null> {
  const keys = await CompartmentKeys.open(root, index);
  const signed = await keptHandover(network, keys.owner.public, (await keys.logRead()).public);
  const ours = signed === null ? null : await CompartmentKeys.open(root, index, signed.handover.compartmentId);
  const taken = ours === null ? null : await stateOf(network, ours);
  if (signed !== null && ours !== null && taken !== null && owns(ours, taken)) {
    const { compartmentId, earlier, sealed } = signed.handover;
    const before = await openEarlier(ours, network.chain, compartmentId, earlier, sealed);
    return { owner: new Owner(network, ours, firstOwnEpoch(earlier), before), handover: signed };
  }
  const opened = await stateOf(network, keys);
  if (opened !== null && owns(keys, opened)) return { owner: new Owner(network, keys), handover: null };
  if (opened === null && (signed === null || isToCome(signed, taken))) return null;
  const replaced = signed?.handover.compartmentId ?? keys.compartmentId(network.chain);
  throw new Refused("owner.replaced", "", { compartmentId: toHex(replaced) });
}

/** Whose key is in the address of the feed of each reading epoch: the owner's of today, or one of before. */
export async function ownerKeysByEpoch(
  network: Network,
  ownerKey: Bytes,
  logReadKey: Bytes,
  epochs: readonly number[],
): Promise<ReadonlyMap<number, Bytes>> {
  const signed = epochs.length > 1 ? await keptHandover(network, ownerKey, logReadKey) : null;
  const of = (epoch: number): Bytes =>
    signed?.handover.earlier.find((one) => one.firstEpoch <= epoch && epoch <= one.lastEpoch)?.ownerKey ?? ownerKey;
  return new Map(epochs.map((epoch) => [epoch, of(epoch)]));
}

async function asked(node: NodeClient, address: Bytes): Promise<SignedHandover | null> {
  try {
    return await node.handover(address);
  } catch (error) {
    if (error instanceof Remote && error.status === 404) return null;
    throw error;
  }
}

function isValid(network: Network, signed: SignedHandover, ownerKey: Bytes, logReadKey: Bytes): boolean {
  try {
    verifyHandover(signed, network.chain, ownerKey, logReadKey);
    return true;
  } catch (error) {
    known(error);
    return false;
  }
}

/** The rotation it was kept for has not been: the owner beside it still is the owner. */
function isToCome({ sponsor }: SignedHandover, state: CompartmentState | null): boolean {
  return sponsor !== null && state !== null && equal(ownerDigest(sponsor.ownerKey), state.ownerDigest);
}

async function stateOf(network: Network, keys: CompartmentKeys): Promise<CompartmentState | null> {
  const name = keys.compartmentId(network.chain);
  return (await network.reader(stateKey.compartment(name))).compartment(name);
}

function owns(keys: CompartmentKeys, state: CompartmentState): boolean {
  return equal(state.ownerDigest, keys.ownerDigest);
}
