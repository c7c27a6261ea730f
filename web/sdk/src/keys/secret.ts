// Bytes that must not leak by accident: they do not print, do not turn into JSON, compare in constant time, and can be wiped.
//
// JavaScript cannot promise more: engines copy memory, strings cannot be overwritten, and a wiped array may have been moved before.

import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { sha256 } from "../codec/cid.ts";

export class SecretBytes {
  readonly #value: Bytes;
  #wiped = false;

  /** Takes the array over: whoever hands it in keeps no other use of it. */
  constructor(value: Bytes) {
    this.#value = value;
  }

  get length(): number {
    return this.#value.length;
  }

  /** The only way out, so that a reader finds every use by searching one word. */
  reveal(): Bytes {
    if (this.#wiped) throw new Error("this secret has been wiped");
    return this.#value;
  }

  wipe(): void {
    this.#value.fill(0);
    this.#wiped = true;
  }

  /** Compares hashes, so that how long it takes says nothing about the secrets. */
  equals(other: SecretBytes): boolean {
    return equal(sha256(this.reveal()), sha256(other.reveal()));
  }

  toString(): string {
    return `SecretBytes(${this.length} bytes)`;
  }

  toJSON(): string {
    return this.toString();
  }
}
