// Claiming a custodial account with a card (`docs/formats.md`, section Claims).

import type { Bytes } from "../bytes.ts";
import { signingBytes } from "../codec/hashing.ts";
import { nullable, type Of, struct } from "../codec/shape.ts";
import { SignedCardShape, SignedTokenShape } from "./grants.ts";
import { earlierOwners, sealedSeeds, SignedHandoverShape } from "./handovers.ts";
import { bytes32, chainId, digest32, publicKey, sealKey, signature } from "./scalars.ts";

/** What the holder of a card asks the organisation for: that its keys make room for these. */
export const ClaimShape = struct({
  chain: chainId,
  /** Whose card it is: no other organisation can pass the claim on. */
  orgId: bytes32,
  cardKey: publicKey,
  ownerKey: publicKey,
  recoveryDigest: digest32,
  /** Where the earlier keys are sealed to. */
  rootKey: sealKey,
});
export type Claim = Of<typeof ClaimShape>;
export const SignedClaimShape = struct({ claim: ClaimShape, cardSignature: signature, ownerSignature: signature });
export type SignedClaim = Of<typeof SignedClaimShape>;

/** The compartment is the claimant's on chain; these are the keys that open what was written before. */
export const ClaimAnswerShape = struct({ compartmentId: bytes32, earlier: earlierOwners, sealed: sealedSeeds });

/** The earlier keys are kept at the nodes: the organisation may forget them, and seals to this card from now on. */
export const ClaimFinishShape = struct({
  handover: SignedHandoverShape,
  card: SignedCardShape,
  token: nullable(SignedTokenShape),
});

export function claimMessage(claim: Claim): Bytes {
  return signingBytes("claim", claim.chain, ClaimShape.write(claim));
}
