// Earlier keys of a compartment: sealed for whoever owns it now, and opened again with nothing but the keys of now.
//
// What opens is compared before it is used: each seed makes the owner key that stands open beside it, and the oldest one makes the very
// compartment, whose id binds the keys it was opened with.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { decodeAs, encodeAs, type Of } from "../codec/shape.ts";
import { HceError, known, Refused } from "../errors.ts";
import { CompartmentKeys } from "../keys/compartments.ts";
import { Root } from "../keys/derive.ts";
import { seal } from "../keys/seal.ts";
import { SecretBytes } from "../keys/secret.ts";
import { type SigningKey, verify } from "../keys/sign.ts";
import { MAX_EPOCH_KEYS } from "../terms/grants.ts";
import {
  type EarlierOwner,
  type EarlierSeed,
  EarlierSeedsShape,
  type Handover,
  handoverInfo,
  handoverMessage,
  MAX_EARLIER,
  type SignedHandover,
} from "../terms/handovers.ts";

/** Keys a compartment had before, and the reading epochs they wrote feeds in. */
export interface EarlierKeys {
  readonly keys: CompartmentKeys;
  readonly firstEpoch: number;
  readonly lastEpoch: number;
  /** For the next rotation, which hands them on. */
  readonly seed: EarlierSeed;
}

/** Reading epochs go on where the keys before left off. */
export function firstOwnEpoch(earlier: readonly { readonly lastEpoch: number }[]): number {
  return (earlier.at(-1)?.lastEpoch ?? -1) + 1;
}

/** For the owner of the root key alone. */
export function sealEarlier(rootKey: Bytes, chain: Bytes, compartmentId: Bytes, seeds: readonly EarlierSeed[]): Promise<Bytes> {
  return seal(rootKey, handoverInfo(chain, compartmentId), encodeAs(EarlierSeedsShape, seeds));
}

/** The keys of before, oldest first. `handover.invalid` unless they are the named owners' and made this compartment. */
export async function openEarlier(
  keys: CompartmentKeys,
  chain: Bytes,
  compartmentId: Bytes,
  earlier: readonly EarlierOwner[],
  sealed: Bytes,
): Promise<readonly EarlierKeys[]> {
  const refuse = refusing(compartmentId);
  let seeds: Of<typeof EarlierSeedsShape>;
  try {
    seeds = decodeAs(EarlierSeedsShape, await (await keys.root()).open(handoverInfo(chain, compartmentId), sealed));
  } catch (error) {
    throw refuse(known(error).code);
  }
  if (seeds.length !== earlier.length) throw refuse("not one seed for each owner");
  requireEpochs(earlier, compartmentId);
  const opened: EarlierKeys[] = [];
  for (const [place, owner] of earlier.entries()) {
    const seed = seeds[place]!;
    const before = await CompartmentKeys.open(await rootOf(seed), seed.index, compartmentId);
    if (!equal(before.owner.public, owner.ownerKey)) throw refuse("a seed makes another owner key");
    opened.push({ keys: before, firstEpoch: owner.firstEpoch, lastEpoch: owner.lastEpoch, seed });
  }
  const first = await CompartmentKeys.open(await rootOf(seeds[0]!), seeds[0]!.index);
  if (!equal(first.compartmentId(chain), compartmentId)) throw refuse("another compartment was opened with these keys");
  return opened;
}

/**
 * Signed by the owner key of today; before a rotation by that of tomorrow, with that of today as `sponsor`. `handover.invalid` for
 * more than nodes keep or grants carry.
 */
export async function makeHandover(
  keys: CompartmentKeys,
  chain: Bytes,
  earlier: readonly EarlierOwner[],
  sealed: Bytes,
  nowMs: number,
  sponsor: SigningKey | null = null,
): Promise<SignedHandover> {
  requireEpochs(earlier, keys.compartmentId(chain));
  const handover: Handover = {
    chain,
    compartmentId: keys.compartmentId(chain),
    ownerKey: keys.owner.public,
    logReadKey: (await keys.logRead()).public,
    earlier,
    sealed,
    issuedMs: nowMs,
  };
  const message = handoverMessage(handover);
  const beside = sponsor === null ? null : { ownerKey: sponsor.public, signature: await sponsor.sign(message) };
  return { handover, signature: await keys.owner.sign(message), sponsor: beside };
}

/** The handover, when this owner signed it; `handover.invalid`. That the key is the compartment's, the caller asks the chain. */
export function verifyHandover(
  { handover, signature }: SignedHandover,
  chain: Bytes,
  ownerKey: Bytes,
  logReadKey: Bytes,
): Handover {
  const refuse = refusing(handover.compartmentId);
  if (!equal(handover.chain, chain)) throw refuse("another chain");
  if (!equal(handover.ownerKey, ownerKey) || !equal(handover.logReadKey, logReadKey)) throw refuse("of other keys");
  if (!verify(ownerKey, handoverMessage(handover), signature)) throw refuse("signature");
  requireEpochs(handover.earlier, handover.compartmentId);
  return handover;
}

/**
 * From 0, upwards, without a gap: each epoch has one owner. The owner of now needs one more, and a grant carries the keys of all: whoever
 * hands over does not decide how many feeds the next owner looks for.
 */
function requireEpochs(earlier: readonly EarlierOwner[], compartmentId: Bytes): void {
  const refuse = refusing(compartmentId);
  if (earlier.length > MAX_EARLIER) throw refuse("more rotations than are followed");
  let expected = 0;
  for (const { firstEpoch, lastEpoch } of earlier) {
    if (firstEpoch !== expected || lastEpoch < firstEpoch) throw refuse("reading epochs do not follow each other");
    expected = lastEpoch + 1;
  }
  if (expected >= MAX_EPOCH_KEYS) throw refuse("more reading epochs than a grant carries");
}

/** `Root.fromSeed` wipes what it is given. */
function rootOf({ seed }: EarlierSeed): Promise<Root> {
  return Root.fromSeed(new SecretBytes(seed.slice()));
}

function refusing(compartmentId: Bytes): (detail: string) => HceError {
  return (detail) => new Refused("handover.invalid", detail, { compartmentId: toHex(compartmentId) });
}
