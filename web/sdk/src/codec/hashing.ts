// Domain-separated hashes and the bytes that signatures sign (`docs/formats.md`, section Hashes and signatures).

import { sha512 } from "@noble/hashes/sha2.js";
import type { Bytes } from "../bytes.ts";
import { sha256 } from "./cid.ts";
import { encode, type Item } from "./dagcbor.ts";

/** SHA-256(DAG-CBOR([domain, ...parts])): no two domains share an input. */
export function digest(domain: string, ...parts: readonly Item[]): Bytes {
  return sha256(encode([domain, ...parts]));
}

/** The same with SHA-512, 64 bytes: for scalars and points. */
export function wideDigest(domain: string, ...parts: readonly Item[]): Bytes {
  return sha512(encode([domain, ...parts]));
}

/** SHA-256(DAG-CBOR([domain, DAG-CBOR(body), salt])): hides the body behind a 256-bit salt, binds to every byte of it. */
export function commitment(domain: string, body: Item, salt: Bytes): Bytes {
  return digest(domain, encode(body), salt);
}

/** DAG-CBOR(["hce/<what>/1", chain, ...fields]): what every signature of HCE signs. */
export function signingBytes(what: string, chain: Bytes, ...fields: readonly Item[]): Bytes {
  return encode([`hce/${what}/1`, chain, ...fields]);
}
