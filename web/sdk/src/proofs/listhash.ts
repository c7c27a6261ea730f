// List hash: the RFC 6962 Merkle tree with the number of items inside the root (`src/hce/foundation/proofs/listhash.py`).

import { bigEndian, type Bytes, concat, equal, utf8 } from "../bytes.ts";
import { sha256 } from "../codec/cid.ts";
import { bytes, integer, list, type Of, struct } from "../codec/shape.ts";

/** Longest audit path that is looked at: enough for 2^64 items. */
export const MAX_PATH_HASHES = 64;
const DOMAIN = utf8("hce/list/1");
const LEAF = Uint8Array.of(0);
const INNER = Uint8Array.of(1);

/** Audit path of one item, from the leaf upwards (RFC 6962, 2.1.1). */
export const ListProofShape = struct({ index: integer(0), count: integer(1), path: list(bytes(32), MAX_PATH_HASHES) });
export type ListProof = Of<typeof ListProofShape>;

/** Root of the list: SHA-256("hce/list/1" + count, 8 bytes big-endian + RFC 6962 tree head). */
export function listRoot(items: readonly Bytes[]): Bytes {
  return sealedRoot(items.length, treeHead(items.map(leafHash)));
}

/** Whether `item` stands at proof.index of the list of proof.count items under `root`. Never throws. */
export function verifyListProof(root: Bytes, item: Bytes, proof: ListProof): boolean {
  const head = headFromPath(leafHash(item), proof);
  return head !== null && equal(sealedRoot(proof.count, head), root);
}

export function leafHash(item: Bytes): Bytes {
  return sha256(concat(LEAF, item));
}

/** Tree head and count in one root. */
export function sealedRoot(count: number, head: Bytes): Bytes {
  return sha256(concat(DOMAIN, bigEndian(count, 8), head));
}

/** The tree head this path leads to (RFC 9162, 2.1.3.2); null when the path does not fit index and count. */
export function headFromPath(leaf: Bytes, proof: ListProof): Bytes | null {
  if (!(proof.index >= 0 && proof.index < proof.count) || proof.path.length > MAX_PATH_HASHES) return null;
  let [node, position, last] = [leaf, proof.index, proof.count - 1];
  for (const sibling of proof.path) {
    if (last === 0) return null;
    if (position % 2 === 1 || position === last) {
      node = sha256(concat(INNER, sibling, node));
      while (position !== 0 && position % 2 === 0) [position, last] = [half(position), half(last)];
    } else {
      node = sha256(concat(INNER, node, sibling));
    }
    [position, last] = [half(position), half(last)];
  }
  return last === 0 ? node : null;
}

/** RFC 6962 MTH of leaf hashes. Pairing level by level and lifting an odd last one builds the recursive definition's tree. */
function treeHead(hashes: readonly Bytes[]): Bytes {
  let level = hashes;
  while (level.length > 1) level = levelAbove(level);
  return level[0] ?? sha256(new Uint8Array(0));
}

function levelAbove(level: readonly Bytes[]): Bytes[] {
  const pairs = Math.ceil(level.length / 2);
  return Array.from({ length: pairs }, (_, i) => {
    const right = level[2 * i + 1];
    return right === undefined ? level[2 * i]! : sha256(concat(INNER, level[2 * i]!, right));
  });
}

/** Positions take up to 53 bits, so no bit operations. */
function half(position: number): number {
  return Math.floor(position / 2);
}
