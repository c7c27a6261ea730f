// The feeds of one compartment: reading epochs count on over rotations, and each epoch was written to the keys of its time.

import type { Bytes } from "../bytes.ts";
import type { CompartmentKeys } from "../keys/compartments.ts";
import { feedAddress } from "../terms/grants.ts";
import { type EarlierKeys, firstOwnEpoch } from "../vault/handovers.ts";
import { Mail } from "./mail.ts";
import type { Network } from "./network.ts";
import { followFeed, type Listing } from "./reading.ts";

/** One feed: the keys it was written to, and its reading epoch. */
export interface Era {
  readonly keys: CompartmentKeys;
  readonly epoch: number;
}

/** By reading epoch, from 0 to the one of now. */
export function erasOf(keys: CompartmentKeys, readingEpoch: number, earlier: readonly EarlierKeys[]): readonly Era[] {
  const before = earlier.flatMap((one) => epochs(one.firstEpoch, one.lastEpoch).map((epoch) => ({ keys: one.keys, epoch })));
  return [...before, ...epochs(firstOwnEpoch(earlier), readingEpoch).map((epoch) => ({ keys, epoch }))];
}

export async function placeOf({ keys, epoch }: Era): Promise<readonly Bytes[]> {
  return [(await keys.feed(epoch)).public, keys.owner.public];
}

export async function feedOf(era: Era): Promise<Bytes> {
  const [feedReadKey, ownerKey] = await placeOf(era);
  return feedAddress(feedReadKey!, ownerKey!);
}

/** Every record a feed names. */
export async function followEra(network: Network, era: Era, compartmentId: Bytes): Promise<Listing> {
  const feed = new Mail(network, await placeOf(era), await era.keys.feed(era.epoch));
  return followFeed(feed, await era.keys.reading(era.epoch), network.chain, compartmentId, era.epoch);
}

function epochs(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, place) => first + place);
}
