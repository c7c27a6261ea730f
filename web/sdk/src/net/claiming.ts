// Somebody takes over the account an organisation kept for them. Every step can be taken again: it finds what was done before.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { decodeAs, encodeAs } from "../codec/shape.ts";
import { PeerFault, Refused } from "../errors.ts";
import { CompartmentKeys } from "../keys/compartments.ts";
import type { Root } from "../keys/derive.ts";
import { ClaimAnswerShape, ClaimFinishShape, type SignedClaim, SignedClaimShape } from "../terms/claims.ts";
import { stateKey } from "../terms/states.ts";
import { cardKey, makeClaim } from "../vault/claiming.ts";
import { firstOwnEpoch, makeHandover, openEarlier } from "../vault/handovers.ts";
import { findOwner, type FoundOwner, keepHandover } from "./handovers.ts";
import type { Network } from "./network.ts";
import { Owner } from "./owner.ts";

/** The organisation's desk: `POST /v1/claims` and `POST /v1/claims/finish` of its gateway. DAG-CBOR in and out. */
export interface ClaimDesk {
  claim(signed: Bytes): Promise<Bytes>;
  finish(finish: Bytes): Promise<void>;
}

/** A claim with these words and this card, not sent yet: `claimMessage(signed.claim)` is what was signed. */
export async function prepareClaim(network: Network, root: Root, code: string, orgId: Bytes): Promise<SignedClaim> {
  return makeClaim(await CompartmentKeys.open(root), await cardKey(code), network.chain, orgId);
}

/**
 * Makes the account these words': final on chain, the earlier keys kept under the own ones at quorum(n) nodes. Believes nothing of what the
 * organisation answers: the chain must say whose the compartment is, and the keys must be those it was opened with.
 */
export async function claimAccount(network: Network, root: Root, signed: SignedClaim, desk: ClaimDesk): Promise<FoundOwner> {
  const found = await findOwner(network, root);
  if (found !== null) {
    if (found.handover === null) throw new Refused("claim.account_exists");
    return found;
  }
  const answer = decodeAs(ClaimAnswerShape, await desk.claim(encodeAs(SignedClaimShape, signed)));
  const { compartmentId, earlier, sealed } = answer;
  const keys = await CompartmentKeys.open(root, 0, compartmentId);
  const before = await openEarlier(keys, network.chain, compartmentId, earlier, sealed);
  const state = (await network.reader(stateKey.compartment(compartmentId))).compartment(compartmentId);
  if (state === null || !equal(state.ownerDigest, keys.ownerDigest) || !equal(state.recoveryDigest, keys.recoveryDigest)) {
    throw new PeerFault("claim.not_ours", "", { compartmentId: toHex(compartmentId) });
  }
  const handover = await makeHandover(keys, network.chain, earlier, sealed, network.now());
  await keepHandover(network, handover);
  return { owner: new Owner(network, keys, firstOwnEpoch(earlier), before), handover };
}

/** Tells the organisation that it may forget its keys; with a serial it may write on without asking. Again it does no harm. */
export async function finishClaim(
  { owner, handover }: FoundOwner,
  orgId: Bytes,
  serial: number | null,
  desk: ClaimDesk,
): Promise<void> {
  if (handover === null) throw new Refused("claim.account_exists");
  const token = serial === null ? null : await owner.token(orgId, serial);
  await desk.finish(encodeAs(ClaimFinishShape, { handover, card: await owner.card(), token }));
}
