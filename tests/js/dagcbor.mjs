// Strict DAG-CBOR as docs/formats.md says it, in a few lines: a 36-byte CID of ours is a link, every other byte string is plain.
// `viaLibrary` says the same through @ipld/dag-cbor, so that the few lines are themselves checked.

import * as dagCbor from "../../web/node_modules/@ipld/dag-cbor/src/index.js";
import { CID } from "../../web/node_modules/multiformats/dist/src/cid.js";

export function encode(value) {
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === "boolean") return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (typeof value === "number" || typeof value === "bigint") return encodeInteger(BigInt(value));
  if (typeof value === "string") return withHead(0x60, new TextEncoder().encode(value));
  if (value instanceof Uint8Array) {
    return isLink(value) ? concat(Uint8Array.of(0xd8, 0x2a, 0x58, 0x25, 0x00), value) : withHead(0x40, value);
  }
  if (Array.isArray(value)) return concat(head(0x80, BigInt(value.length)), ...value.map(encode));
  const entries = Object.entries(value).map(([key, item]) => [new TextEncoder().encode(key), item]);
  entries.sort(([a], [b]) => a.length - b.length || compare(a, b));
  return concat(head(0xa0, BigInt(entries.length)), ...entries.flatMap(([key, item]) => [withHead(0x60, key), encode(item)]));
}

export function viaLibrary(value) {
  return Uint8Array.from(dagCbor.encode(withCids(value)));
}

export function concat(...parts) {
  return Uint8Array.from(Buffer.concat(parts));
}

function withCids(value) {
  if (value instanceof Uint8Array) return isLink(value) ? CID.decode(value) : value;
  if (Array.isArray(value)) return value.map(withCids);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withCids(item)]));
}

function isLink(bytes) {
  return bytes.length === 36 && bytes[0] === 0x01 && (bytes[1] === 0x71 || bytes[1] === 0x55) && bytes[2] === 0x12 && bytes[3] === 0x20;
}

function encodeInteger(number) {
  return number < 0n ? head(0x20, -1n - number) : head(0x00, number);
}

function withHead(major, bytes) {
  return concat(head(major, BigInt(bytes.length)), bytes);
}

function head(major, count) {
  if (count < 24n) return Uint8Array.of(major | Number(count));
  for (const [additional, size] of [[24, 1], [25, 2], [26, 4], [27, 8]]) {
    if (count < 1n << BigInt(8 * size)) {
      const digits = count.toString(16).padStart(2 * size, "0");
      return concat(Uint8Array.of(major | additional), Buffer.from(digits, "hex"));
    }
  }
  throw new RangeError("longer than 64 bits");
}

function compare(a, b) {
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}
