// Shapes of structs: a struct is a DAG-CBOR list of its fields in order (`docs/formats.md`). A shape reads a decoded item into a
// typed, frozen value whose bounds then hold, and writes it back. `Of<typeof Shape>` is the value's type.

import type { Bytes } from "../bytes.ts";
import { Malformed } from "../errors.ts";
import { CID_BYTES, isCid } from "./cid.ts";
import { decode, encode, type Item, MAX_ENCODED_BYTES } from "./dagcbor.ts";

export interface Shape<T> {
  /** `Malformed` names the place that does not fit. */
  read(item: Item, at: string): T;
  write(value: T): Item;
}

export type Of<S> = S extends Shape<infer T> ? T : never;

type Fields = Readonly<Record<string, Shape<unknown>>>;
type Struct<F> = { readonly [K in keyof F]: F[K] extends Shape<infer T> ? T : never };

export function decodeAs<T>(shape: Shape<T>, raw: Bytes, maxBytes = MAX_ENCODED_BYTES): T {
  return shape.read(decode(raw, maxBytes), "");
}

export function encodeAs<T>(shape: Shape<T>, value: T): Bytes {
  return encode(shape.write(value));
}

/** The value itself when every bound holds; `Malformed` otherwise. For what this program made and others would refuse. */
export function checked<T>(shape: Shape<T>, value: T): T {
  return shape.read(shape.write(value), "");
}

export function bytes(min: number, max = min): Shape<Bytes> {
  return atom(
    (item): item is Bytes => item instanceof Uint8Array && item.length >= min && item.length <= max,
    `${min} to ${max} bytes`,
  );
}

export function integer(min = -Number.MAX_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER): Shape<number> {
  return atom((item): item is number => typeof item === "number" && item >= min && item <= max, `an integer from ${min} to ${max}`);
}

/** Lengths count characters, as the server does, not UTF-16 units. */
export function text(max: number, min = 0): Shape<string> {
  const fits = (item: string): boolean => [...item].length >= min && [...item].length <= max;
  return atom((item): item is string => typeof item === "string" && fits(item), `text of ${min} to ${max} characters`);
}

export function pattern(fits: RegExp): Shape<string> {
  return atom((item): item is string => typeof item === "string" && fits.test(item), `text like ${fits.source}`);
}

export function oneOf<const T extends string>(...values: readonly T[]): Shape<T> {
  return atom((item): item is T => values.some((value) => value === item), `one of ${values.join(", ")}`);
}

/** Byte strings that the bound of the whole message bounds. */
export const anyBytes: Shape<Bytes> = bytes(0, Number.MAX_SAFE_INTEGER);
export const bool: Shape<boolean> = atom((item): item is boolean => typeof item === "boolean", "true or false");
/** A value that its reader converts later. */
export const anyList: Shape<readonly Item[]> = atom((item): item is readonly Item[] => Array.isArray(item), "a list");
export const cid: Shape<Bytes> = bytes(CID_BYTES);
/** A CID of ours, not just 36 bytes. */
export const ourCid: Shape<Bytes> = atom((item): item is Bytes => item instanceof Uint8Array && isCid(item), "a CID");

export function nullable<T>(inner: Shape<T>): Shape<T | null> {
  return {
    read: (item, at) => (item === null ? null : inner.read(item, at)),
    write: (value) => (value === null ? null : inner.write(value)),
  };
}

export function list<T>(inner: Shape<T>, max = Number.MAX_SAFE_INTEGER, min = 0): Shape<readonly T[]> {
  return {
    read: (item, at) => {
      if (!Array.isArray(item)) return misfit(at, "a list");
      if (item.length < min || item.length > max) return misfit(at, `a list of ${min} to ${max}`);
      return item.map((one: Item, i) => inner.read(one, `${at}[${i}]`));
    },
    write: (value) => value.map((one) => inner.write(one)),
  };
}

export function struct<const F extends Fields>(fields: F): Shape<Struct<F>> {
  const named = Object.entries(fields);
  return {
    read: (item, at) => {
      if (!Array.isArray(item) || item.length !== named.length) return misfit(at, `a list of ${named.length} fields`);
      const read = named.map(([name, shape], i) => [name, shape.read(item[i] as Item, `${at}.${name}`)]);
      return Object.freeze(Object.fromEntries(read)) as Struct<F>;
    },
    write: (value) => named.map(([name, shape]) => shape.write((value as Record<string, unknown>)[name])),
  };
}

function atom<T extends Item>(fits: (item: Item) => item is T, expected: string): Shape<T> {
  return { read: (item, at) => (fits(item) ? item : misfit(at, expected)), write: (value) => value };
}

function misfit(at: string, expected: string): never {
  throw new Malformed(`expected ${expected}${at ? ` at ${at.replace(/^\./, "")}` : ""}`);
}
