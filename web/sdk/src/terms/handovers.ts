// Earlier keys of a compartment, kept for its owner at the nodes (`docs/formats.md`, section Handovers).

import type { Bytes } from "../bytes.ts";
import { encode } from "../codec/dagcbor.ts";
import { signingBytes } from "../codec/hashing.ts";
import { bytes, list, nullable, type Of, struct } from "../codec/shape.ts";
import { bytes32, chainId, count, publicKey, signature } from "./scalars.ts";

/** Rotations a compartment's keys are followed through. */
export const MAX_EARLIER = 16;
export const sealedSeeds = bytes(0, 4096);

/** An owner key of before and the reading epochs it wrote its feeds in. Epochs go on over a rotation, so one number names one feed. */
export const EarlierOwnerShape = struct({ ownerKey: publicKey, firstEpoch: count, lastEpoch: count });
export type EarlierOwner = Of<typeof EarlierOwnerShape>;
export const earlierOwners = list(EarlierOwnerShape, MAX_EARLIER, 1);
/** What all keys of an `EarlierOwner` follow from. */
export const EarlierSeedsShape = list(struct({ seed: bytes(32, 64), index: count }), MAX_EARLIER, 1);
export type EarlierSeed = Of<typeof EarlierSeedsShape>[number];

export const HandoverShape = struct({
  chain: chainId,
  compartmentId: bytes32,
  /** Of today; it signs. */
  ownerKey: publicKey,
  logReadKey: publicKey,
  /** Oldest first, without a gap between their epochs. */
  earlier: earlierOwners,
  /** `EarlierSeedsShape` of the same owners in the same order, for the root key of today. */
  sealed: sealedSeeds,
  issuedMs: count,
});
export type Handover = Of<typeof HandoverShape>;
/** `sponsor`: the compartment's owner of now, where the handover is kept before the rotation it is for. */
export const SignedHandoverShape = struct({
  handover: HandoverShape,
  signature,
  sponsor: nullable(struct({ ownerKey: publicKey, signature })),
});
export type SignedHandover = Of<typeof SignedHandoverShape>;

export function handoverMessage(handover: Handover): Bytes {
  return signingBytes("handover", handover.chain, HandoverShape.write(handover));
}

/** HPKE info of the sealed seeds. */
export function handoverInfo(chain: Bytes, compartmentId: Bytes): Bytes {
  return encode(["hce/handover-seal/1", chain, compartmentId]);
}
