// What people show each other: a request for access, and a person's own code. Text that fits a QR code, a link, or the clipboard.
//
//     HCE:ASK:<HEX>.<HEX>  what is wished (days, reason: binds nobody; may be missing), and an AccessRequest of a clinic's gateway
//     HCE:HELLO:<HEX>  a SignedToken: which feed to write to, and that this organisation may; capitals make smaller QR codes

import {
  type AccessRequest,
  AccessRequestShape,
  decode,
  decodeAs,
  encode,
  encodeAs,
  fromHex,
  Malformed,
  type SignedToken,
  SignedTokenShape,
  toHex,
} from "../../sdk/src/index.ts";

export const DAY_MS = 24 * 3_600_000;
/** How long access may last, in days; the words are `lasts.*`. */
export const LASTS: readonly number[] = [1, 7, 30, 365];
const MAX_REASON_CHARS = 120;

/** What a clinic says beside its request. The owner decides, and nothing of it is in what they sign. */
export interface Wish {
  /** For how long; 0 when that was not said. */
  readonly days: number;
  readonly reason: string;
}

export function helloCode(token: SignedToken): string {
  return `HCE:HELLO:${toHex(encodeAs(SignedTokenShape, token)).toUpperCase()}`;
}

/** From a code, a link that ends in one, or bare hex. `code.unreadable`. */
export function readRequest(text: string): AccessRequest {
  const [hex] = /[0-9a-f]+$/.exec(text.trim().toLowerCase()) ?? [""];
  try {
    return decodeAs(AccessRequestShape, fromHex(hex));
  } catch {
    throw new Malformed("", {}, "code.unreadable");
  }
}

/** `request` in hex, as the gateway gave it. */
export function askCode(request: string, { days, reason }: Wish): string {
  return `HCE:ASK:${toHex(encode([days, reason]))}.${request}`.toUpperCase();
}

/** Nothing is wished where nothing is said, or nothing that can be read. */
export function readWish(text: string): Wish {
  const [, hex = ""] = /([0-9a-f]+)\.[0-9a-f]+$/.exec(text.trim().toLowerCase()) ?? [];
  try {
    const [days, reason] = decode(fromHex(hex)) as readonly unknown[];
    if (typeof days === "number" && LASTS.includes(days) && typeof reason === "string" && reason.length <= MAX_REASON_CHARS)
      return { days, reason };
  } catch {
    // the request is what counts
  }
  return { days: 0, reason: "" };
}

/** A person's own code. `code.no_hello`. */
export function readHello(text: string): SignedToken {
  const [hex] = /[0-9a-f]+$/.exec(text.trim().toLowerCase()) ?? [""];
  try {
    return decodeAs(SignedTokenShape, fromHex(hex));
  } catch {
    throw new Malformed("", {}, "code.no_hello");
  }
}
