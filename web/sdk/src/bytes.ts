// Byte strings: the one type everything below works on.

export type Bytes = Uint8Array<ArrayBuffer>;

const DIGITS = /^(?:[0-9a-f]{2})*$/;

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether two public byte strings are the same. Not in constant time: secrets compare with `SecretBytes.equals`. */
export function equal(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}

/** Order of byte strings as Python and the chain sort them. */
export function compare(left: Uint8Array, right: Uint8Array): number {
  const shorter = Math.min(left.length, right.length);
  for (let i = 0; i < shorter; i += 1) {
    const difference = left[i]! - right[i]!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

export function toHex(raw: Uint8Array): string {
  let text = "";
  for (const byte of raw) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Lower-case hex as our own ids are written; TypeError for anything else. */
export function fromHex(text: string): Bytes {
  if (!DIGITS.test(text)) throw new TypeError("not hex");
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** UTF-8. TypeError for half a surrogate pair, which has none. */
export function utf8(text: string): Bytes {
  if (LONE_SURROGATE.test(text)) throw new TypeError("text is not well-formed Unicode");
  return new TextEncoder().encode(text);
}

const LONE_SURROGATE = /\p{Surrogate}/u;

/** A number as `size` bytes, big-endian; at most 53 bits. */
export function bigEndian(value: number, size: number): Bytes {
  const raw = new Uint8Array(size);
  let left = value;
  for (let i = size - 1; i >= 0; i -= 1) {
    raw[i] = left % 256;
    left = Math.floor(left / 256);
  }
  return raw;
}
