// Reads test vectors: bytes are hex after 0x (or plain hex in vectors from outside), fields have the names of the Python structs.

import { readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { type Bytes, fromHex } from "../src/bytes.ts";
import type { Item } from "../src/codec/dagcbor.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** Whatever the file says; a test that expects something else fails by itself. */
export type Loose = any;

export const ROOT = process.env["HCE_ROOT"] ?? "../..";

export function readJson(path: string): Loose {
  return JSON.parse(readFileSync(isAbsolute(path) ? path : join(ROOT, path), "utf8"));
}

/** The file with bytes as bytes and names as the SDK writes them. */
export function readVectors(path: string): Loose {
  return revived(readJson(join("tests/vectors", path)));
}

export function revived(value: Json): Loose {
  if (typeof value === "string") return value.startsWith("0x") ? fromHex(value.slice(2)) : value;
  if (Array.isArray(value)) return value.map(revived);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [camel(name), revived(item)]));
}

/** A revived value as an item: objects are maps. */
export function itemOf(value: Loose): Item {
  if (Array.isArray(value)) return value.map(itemOf);
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  return new Map(Object.entries(value).map(([key, item]) => [key, itemOf(item)]));
}

/** The next bytes of a stream that was written down in pieces. */
export function drawn(...pieces: readonly Bytes[]): (count: number) => Bytes {
  const left = [...pieces];
  return (count) => {
    const next = left.shift();
    if (next === undefined || next.length !== count) throw new Error("the vectors draw something else here");
    return next.slice();
  };
}

function camel(name: string): string {
  return name.startsWith("0x") ? name : name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
