// New words in the place of old ones (`src/hce/service/sdk/rotating.py`). The handover is kept first, for the owner that is to be; then
// the recovery key rotates. Broken off before the block nothing has changed, after it the new words find everything.

import { CompartmentKeys } from "../keys/compartments.ts";
import type { Root } from "../keys/derive.ts";
import type { SecretBytes } from "../keys/secret.ts";
import type { Payload } from "../terms/payloads.ts";
import { type Body, signTx } from "../terms/transactions.ts";
import { type EarlierKeys, firstOwnEpoch, makeHandover, sealEarlier } from "../vault/handovers.ts";
import { type FoundOwner, keepHandover } from "./handovers.ts";
import type { Network } from "./network.ts";
import { Owner } from "./owner.ts";

/** A rotation that is not signed yet: `body.bytes` is what will be. */
export interface Rotation {
  readonly body: Body<"compartment.rotate">;
  readonly keys: CompartmentKeys;
}

export async function prepareRotation(network: Network, { owner }: FoundOwner, newRoot: Root): Promise<Rotation> {
  const { compartmentId } = owner;
  const keys = await CompartmentKeys.open(newRoot, 0, compartmentId);
  const { ownerDigest, recoveryDigest } = keys;
  const payload: Payload<"compartment.rotate"> = { compartmentId, ownerDigest, recoveryDigest };
  return { body: await network.body("compartment.rotate", payload, null), keys };
}

/** The same account under the new keys; `seed` is the one of `owner`, and wiped. Every grant ends. `handover.not_kept`, `compartment.*`. */
export async function rotateAccount(
  network: Network,
  { owner }: FoundOwner,
  seed: SecretBytes,
  { body, keys }: Rotation,
): Promise<FoundOwner> {
  const { chain } = network;
  const last: EarlierKeys = {
    keys: owner.keys,
    firstEpoch: firstOwnEpoch(owner.earlier),
    lastEpoch: owner.readingEpoch,
    seed: { seed: seed.reveal().slice(), index: owner.keys.index },
  };
  const earlier = [...owner.earlier, last];
  const root = (await keys.root()).public;
  const seeds = earlier.map((one) => one.seed);
  const sealed = await sealEarlier(root, chain, owner.compartmentId, seeds);
  const owners = earlier.map(({ keys: { owner: key }, firstEpoch, lastEpoch }) => ({
    ownerKey: key.public,
    firstEpoch,
    lastEpoch,
  }));
  const handover = await makeHandover(keys, chain, owners, sealed, network.now(), owner.keys.owner);
  seed.wipe();
  await owner.publishCard(); // every node learns whose the old feed is
  await keepHandover(network, handover);
  await network.submit(await signTx(body, [["recovery", owner.keys.recovery]]), body.id);
  return { owner: new Owner(network, keys, owner.readingEpoch + 1, earlier), handover };
}
