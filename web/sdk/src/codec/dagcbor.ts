// Strict DAG-CBOR: one value, one byte string; the same rules as `src/hce/foundation/codec/dagcbor.py`.
//
// Lengths and integers are minimal, integers lie inside 53 bits, there are no floats, map keys are text, sorted and different,
// nothing is longer than its input or nested deeper than MAX_DEPTH. A CID is a byte string to us: exactly the 36-byte strings that
// begin 01 71 12 20 or 01 55 12 20 are links (tag 42), every other byte string is plain, and a link to anything else is refused.

import { type Bytes, compare, utf8 } from "../bytes.ts";
import { Malformed } from "../errors.ts";
import { isCid } from "./cid.ts";

export type Item = null | boolean | number | string | Bytes | readonly Item[] | ReadonlyMap<string, Item>;

/** Upper bound of one encoded value; callers give smaller ones. */
export const MAX_ENCODED_BYTES = 16 * 1024 * 1024;
/** Lists and maps inside one another, the outermost counted. */
export const MAX_DEPTH = 64;

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, list: 4, map: 5, tag: 6, simple: 7 } as const;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
/** Tag 42, a byte string of 37 bytes, and the zero byte that begins every link. */
const LINK_HEAD = Uint8Array.of(0xd8, 0x2a, 0x58, 0x25, 0x00);
const LINK_BYTES = 36;
const FLOATS = [0xf9, 0xfa, 0xfb];

/** Canonical bytes. TypeError for what has no encoding: a mistake of the caller, not of the network. */
export function encode(value: Item): Bytes {
  const writer = new Writer();
  writer.item(value, MAX_DEPTH);
  return writer.finished();
}

/** The value of canonical bytes; `Malformed` for any other spelling, `too_large` beyond `maxBytes`. */
export function decode(raw: Bytes, maxBytes = MAX_ENCODED_BYTES): Item {
  if (raw.length > maxBytes) throw new Malformed("encoded value", { actualBytes: raw.length, maxBytes }, "too_large");
  const reader = new Reader(raw);
  const value = reader.item(MAX_DEPTH);
  reader.requireEnd();
  return value;
}

class Writer {
  #buffer = new Uint8Array(256);
  #length = 0;

  finished(): Bytes {
    return this.#buffer.slice(0, this.#length);
  }

  item(value: Item, levels: number): void {
    if (value === null) this.#byte(NULL);
    else if (typeof value === "boolean") this.#byte(value ? TRUE : FALSE);
    else if (typeof value === "number") this.#integer(value);
    else if (typeof value === "string") this.#withHead(MAJOR.text, utf8(value));
    else if (value instanceof Uint8Array) this.#bytes(value);
    else if (levels === 0) throw new TypeError(`nested deeper than ${MAX_DEPTH}`);
    else if (Array.isArray(value)) this.#list(value, levels - 1);
    else if (value instanceof Map) this.#map(value, levels - 1);
    else throw new TypeError(`${typeof value} has no encoding`);
  }

  #integer(value: number): void {
    if (!Number.isInteger(value)) throw new TypeError("floats are not encoded");
    if (!Number.isSafeInteger(value)) throw new TypeError("integer outside 53 bits");
    if (value < 0) this.#head(MAJOR.negative, -1 - value);
    else this.#head(MAJOR.unsigned, value);
  }

  #bytes(value: Bytes): void {
    if (!isCid(value)) return this.#withHead(MAJOR.bytes, value);
    this.#append(LINK_HEAD);
    this.#append(value);
  }

  #list(value: readonly Item[], levels: number): void {
    this.#head(MAJOR.list, value.length);
    for (const one of value) this.item(one, levels);
  }

  #map(value: ReadonlyMap<string, Item>, levels: number): void {
    const entries = [...value].map(([key, item]) => [utf8(key), item] as const);
    entries.sort(([left], [right]) => keyOrder(left, right));
    this.#head(MAJOR.map, entries.length);
    for (const [key, item] of entries) {
      this.#withHead(MAJOR.text, key);
      this.item(item, levels);
    }
  }

  #withHead(major: number, raw: Uint8Array): void {
    this.#head(major, raw.length);
    this.#append(raw);
  }

  #head(major: number, count: number): void {
    const first = major << 5;
    if (count < 24) return this.#byte(first | count);
    const power = count < 2 ** 8 ? 0 : count < 2 ** 16 ? 1 : count < 2 ** 32 ? 2 : 3;
    this.#byte(first | (24 + power));
    for (let shift = 2 ** power - 1; shift >= 0; shift -= 1) this.#byte(Math.floor(count / 256 ** shift) % 256);
  }

  #byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#length] = value;
    this.#length += 1;
  }

  #append(raw: Uint8Array): void {
    this.#room(raw.length);
    this.#buffer.set(raw, this.#length);
    this.#length += raw.length;
  }

  #room(more: number): void {
    if (this.#length + more <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#buffer.length, this.#length + more));
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}

class Reader {
  readonly #raw: Bytes;
  #at = 0;

  constructor(raw: Bytes) {
    this.#raw = raw;
  }

  requireEnd(): void {
    if (this.#at !== this.#raw.length) throw new Malformed("bytes behind the value");
  }

  item(levels: number): Item {
    const first = this.#byte();
    const major = first >> 5;
    if (major === MAJOR.simple) return simple(first);
    const count = this.#count(first & 31);
    switch (major) {
      case MAJOR.unsigned:
        return count;
      case MAJOR.negative:
        if (count === Number.MAX_SAFE_INTEGER) throw new Malformed("integer outside 53 bits");
        return -1 - count;
      case MAJOR.bytes:
        return this.#plain(count);
      case MAJOR.text:
        return this.#text(count);
      case MAJOR.tag:
        return this.#link(count);
      default:
        if (levels === 0) throw new Malformed(`nested deeper than ${MAX_DEPTH}`);
        return major === MAJOR.list ? this.#list(count, levels - 1) : this.#map(count, levels - 1);
    }
  }

  #byte(): number {
    return this.#take(1)[0]!;
  }

  #take(count: number): Bytes {
    if (count > this.#raw.length - this.#at) throw new Malformed("longer than its input");
    const taken = this.#raw.subarray(this.#at, this.#at + count);
    this.#at += count;
    return taken;
  }

  /** The number in a head; refused unless it is spelled as shortly as it can be. */
  #count(low: number): number {
    if (low < 24) return low;
    if (low > 27) throw new Malformed("indefinite or reserved length");
    const size = 2 ** (low - 24);
    const count = this.#take(size).reduce((sum, byte) => sum * 256 + byte, 0);
    if (count > Number.MAX_SAFE_INTEGER) throw new Malformed("integer outside 53 bits");
    const least = low === 24 ? 24 : 256 ** (size / 2);
    if (count < least) throw new Malformed("not the shortest spelling");
    return count;
  }

  #plain(count: number): Bytes {
    const value = this.#take(count).slice();
    if (isCid(value)) throw new Malformed("a CID that is not written as a link");
    return value;
  }

  #text(count: number): string {
    return textOf(this.#take(count));
  }

  #link(tag: number): Bytes {
    if (tag !== 42) throw new Malformed("another tag than 42");
    const rest = LINK_HEAD.subarray(2);
    if (compare(this.#take(rest.length), rest) !== 0) throw new Malformed("a link to something else");
    const cid = this.#take(LINK_BYTES).slice();
    if (!isCid(cid)) throw new Malformed("a link to something else");
    return cid;
  }

  #list(count: number, levels: number): Item[] {
    this.#refuseMoreThanInput(count);
    return Array.from({ length: count }, () => this.item(levels));
  }

  #map(count: number, levels: number): ReadonlyMap<string, Item> {
    this.#refuseMoreThanInput(2 * count);
    const found = new Map<string, Item>();
    let before: Bytes | null = null;
    for (let i = 0; i < count; i += 1) {
      const first = this.#byte();
      if (first >> 5 !== MAJOR.text) throw new Malformed("a map key that is not text");
      const raw = this.#take(this.#count(first & 31));
      if (before !== null && keyOrder(before, raw) >= 0) throw new Malformed("map keys are unsorted or repeat");
      before = raw;
      found.set(textOf(raw), this.item(levels));
    }
    return found;
  }

  #refuseMoreThanInput(items: number): void {
    if (items > this.#raw.length - this.#at) throw new Malformed("longer than its input");
  }
}

function textOf(raw: Bytes): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch (error) {
    if (error instanceof TypeError) throw new Malformed("text is not UTF-8");
    throw error;
  }
}

function simple(first: number): null | boolean {
  if (first === NULL) return null;
  if (first === TRUE || first === FALSE) return first === TRUE;
  throw new Malformed(FLOATS.includes(first) ? "floats are not encoded" : "an unknown simple value");
}

/** Shorter keys first, then by their bytes. */
function keyOrder(left: Uint8Array, right: Uint8Array): number {
  return left.length - right.length || compare(left, right);
}
