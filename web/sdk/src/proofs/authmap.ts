// Authenticated map: one root over many keys, short proofs that a key has a value or has none
// (`src/hce/foundation/proofs/authmap.py` tells how and why; here is only the checking).

import { type Bytes, compare, concat, equal, utf8 } from "../bytes.ts";
import { sha256 } from "../codec/cid.ts";
import { bytes, integer, list, type Of, struct } from "../codec/shape.ts";
import { headFromPath, leafHash, MAX_PATH_HASHES, sealedRoot } from "./listhash.ts";

/** Levels of the upper tree; 2^16 buckets. */
const BUCKET_BITS = 16;
const DOMAIN = utf8("hce/map/1");
const INNER = Uint8Array.of(1);
const EMPTY_BUCKET = new Uint8Array(32);

const LeafShape = struct({ path: bytes(32), valueHash: bytes(32) });
type Leaf = Of<typeof LeafShape>;

/** A leaf and where it stands in its bucket. */
const MemberShape = struct({ leaf: LeafShape, index: integer(0), path: list(bytes(32), MAX_PATH_HASHES) });
type Member = Of<typeof MemberShape>;

/**
 * Presence: one member, the key's own. Absence: no member (empty bucket), the first leaf (path below it), the last leaf (path above
 * it), or two adjacent leaves around the path.
 */
export const MapProofShape = struct({
  count: integer(0),
  members: list(MemberShape, 2),
  siblings: list(bytes(32), BUCKET_BITS, BUCKET_BITS),
});
export type MapProof = Of<typeof MapProofShape>;

/** Whether `key` has exactly this value under `root`; value null asks whether the key is absent. Never throws. */
export function verifyMapProof(root: Bytes, key: Bytes, value: Bytes | null, proof: MapProof): boolean {
  const path = sha256(key);
  const claim = value === null ? absenceHolds(path, proof) : presenceHolds({ path, valueHash: sha256(value) }, proof);
  if (!claim) return false;
  const bucket = bucketFromMembers(proof);
  if (bucket === null) return false;
  const number = path[0]! * 256 + path[1]!;
  return equal(sha256(concat(DOMAIN, topFromBucket(number, bucket, proof.siblings))), root);
}

function presenceHolds(leaf: Leaf, proof: MapProof): boolean {
  const [member, ...others] = proof.members;
  return member !== undefined && others.length === 0 && equal(item(member.leaf), item(leaf));
}

/** Whether the shown leaves leave no room for the path. Their own places are checked by the hashes. */
function absenceHolds(path: Bytes, proof: MapProof): boolean {
  const [left, right] = proof.members;
  if (left === undefined) return proof.count === 0;
  const afterLeft = compare(left.leaf.path, path) < 0;
  if (right === undefined) {
    const belowFirst = left.index === 0 && compare(path, left.leaf.path) < 0;
    return belowFirst || (left.index === proof.count - 1 && afterLeft);
  }
  return left.index + 1 === right.index && afterLeft && compare(path, right.leaf.path) < 0;
}

/** The bucket hash all members lead to; null when one does not fit or two disagree. */
function bucketFromMembers(proof: MapProof): Bytes | null {
  const heads = proof.members.map((member) => headOf(member, proof.count));
  const [first] = heads;
  if (first === undefined) return EMPTY_BUCKET;
  const agree = first !== null && heads.every((head) => head !== null && equal(head, first));
  return agree ? sealedRoot(proof.count, first) : null;
}

function headOf(member: Member, count: number): Bytes | null {
  return headFromPath(leafHash(item(member.leaf)), { index: member.index, count, path: member.path });
}

function topFromBucket(number: number, bucket: Bytes, siblings: readonly Bytes[]): Bytes {
  let [node, position] = [bucket, number];
  for (const sibling of siblings) {
    node = position % 2 === 1 ? sha256(concat(INNER, sibling, node)) : sha256(concat(INNER, node, sibling));
    position = position >> 1;
  }
  return node;
}

function item(leaf: Leaf): Bytes {
  return concat(leaf.path, leaf.valueHash);
}
