// What people show each other: a request for access, and a person's own code. Text that fits a QR code, a link, or the clipboard.
//
//     hce:ask:<hex>    an AccessRequest, made by a clinic's gateway
//     HCE:HELLO:<HEX>  a SignedToken: which feed to write to, and that this organisation may; capitals make smaller QR codes

import {
  type AccessRequest,
  AccessRequestShape,
  decodeAs,
  encodeAs,
  fromHex,
  Malformed,
  type SignedToken,
  SignedTokenShape,
  toHex,
} from "../../sdk/src/index.ts";

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
