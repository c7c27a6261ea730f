// CIDv1 with SHA-256, in binary: the names of blocks, transactions, manifests and shards.

import { sha256 as hash } from "@noble/hashes/sha2.js";
import { type Bytes, concat, equal } from "../bytes.ts";

export const CID_BYTES = 36;
const DAG_CBOR = Uint8Array.of(0x01, 0x71, 0x12, 0x20);
const RAW = Uint8Array.of(0x01, 0x55, 0x12, 0x20);

export function sha256(data: Uint8Array): Bytes {
  return hash(data);
}

/** Name of canonical DAG-CBOR bytes. */
export function cidOfDagCbor(encoded: Uint8Array): Bytes {
  return concat(DAG_CBOR, sha256(encoded));
}

/** Name of opaque bytes (ciphertext, shards). */
export function cidOfRaw(blob: Uint8Array): Bytes {
  return concat(RAW, sha256(blob));
}

/** Whether a byte string is one of our CIDs: these, and no other, are written as links. */
export function isCid(value: Uint8Array): boolean {
  if (value.length !== CID_BYTES) return false;
  const head = value.subarray(0, DAG_CBOR.length);
  return equal(head, DAG_CBOR) || equal(head, RAW);
}

/** Whether this CID (of either codec) is the name of these bytes. */
export function isNamed(cid: Uint8Array, content: Uint8Array): boolean {
  return isCid(cid) && equal(cid.subarray(DAG_CBOR.length), sha256(content));
}
