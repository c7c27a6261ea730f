// Health transactions: the signed envelope around every kind (`docs/formats.md`, section Health transactions).

import { type Bytes, equal } from "../bytes.ts";
import { cidOfDagCbor } from "../codec/cid.ts";
import type { Item } from "../codec/dagcbor.ts";
import { signingBytes } from "../codec/hashing.ts";
import { anyBytes, anyList, decodeAs, encodeAs, list, nullable, type Of, type Shape, struct, text } from "../codec/shape.ts";
import { Malformed, Refused } from "../errors.ts";
import { type SigningKey, verify } from "../keys/sign.ts";
import { type Kind, type Payload, PAYLOADS } from "./payloads.ts";
import { bytes32, chainId, count, publicKey, signature } from "./scalars.ts";

const DOMAIN = "hce/tx/1";
export const MAX_TX_BYTES = 256 * 1024;

/** Kind -> the allowed lists of roles. A kind that is not here is refused. */
const ROLES: Readonly<Record<Kind, readonly (readonly Role[])[]>> = {
  "organisation.vote": [["node"]],
  "organisation.revoke": [["node"]],
  "credential.issue": [["organisation", "payer"]],
  "credential.revoke": [["organisation"]],
  "compartment.open": [["payer"]],
  "compartment.rotate": [["owner"], ["recovery"]],
  "record.commit": [["organisation", "payer"]],
  "grant.open": [["revoke_key", "payer"]],
  "grant.revoke": [["revoke_key"]],
  "access.open": [["reader", "payer"]],
  "anchor.post": [["node"]],
  "portal.vote": [["node"]],
};
export type Role = "node" | "organisation" | "owner" | "recovery" | "revoke_key" | "reader" | "payer";

const HealthBodyShape = struct({
  domain: text(16),
  chain: chainId,
  kind: text(32),
  payload: anyList,
  payer: nullable(bytes32),
  validUntil: count,
});
const SignedHealthTxShape = struct({
  bodyBytes: anyBytes,
  signatures: list(struct({ role: text(16), publicKey, signature }), 4),
});
export type RoleSignature = Of<typeof SignedHealthTxShape>["signatures"][number];

/** A transaction before anybody signed it. `id` names it for ever: no signature is part of it. */
export interface Body<K extends Kind = Kind> {
  readonly id: Bytes;
  readonly chain: Bytes;
  readonly kind: K;
  readonly payload: Payload<K>;
  readonly payer: Bytes | null;
  readonly validUntil: number;
  /** What `id` is the CID of. */
  readonly bytes: Bytes;
}

/** Any transaction's body: `kind` tells which payload. */
export type AnyBody = { [K in Kind]: Body<K> }[Kind];

/** Signed, or half-signed until the payer has countersigned. */
export interface HealthTx {
  readonly body: AnyBody;
  readonly signatures: readonly RoleSignature[];
  readonly raw: Bytes;
}

export function makeBody<K extends Kind>(
  chain: Bytes,
  kind: K,
  payload: Payload<K>,
  payer: Bytes | null,
  validUntil: number,
): Body<K> {
  const shape = PAYLOADS[kind] as Shape<unknown>;
  const body = { domain: DOMAIN, chain, kind, payload: shape.write(payload) as readonly Item[], payer, validUntil };
  const encoded = encodeAs(HealthBodyShape, body);
  return parseBody(encoded) as unknown as Body<K>;
}

/** A body from the bytes that are signed. `malformed`, `tx.unknown_kind`. */
export function parseBody(encoded: Bytes): AnyBody {
  const { domain, chain, kind, payload, payer, validUntil } = decodeAs(HealthBodyShape, encoded, MAX_TX_BYTES);
  if (domain !== DOMAIN) throw new Malformed("not a health transaction");
  if (!isKind(kind)) throw new Refused("tx.unknown_kind", "", { kind });
  const paid = ROLES[kind][0]!.includes("payer");
  if (paid !== (payer !== null)) throw new Malformed("payer does not fit the kind", { kind });
  const read = (PAYLOADS[kind] as Shape<unknown>).read(payload, "payload");
  return { id: cidOfDagCbor(encoded), chain, kind, payload: read, payer, validUntil, bytes: encoded } as AnyBody;
}

/** What each signature of a transaction signs. */
export function signMessage(chain: Bytes, role: string, id: Bytes): Bytes {
  return signingBytes("sign", chain, role, id);
}

/** Signed transaction bytes; signers in the order of the kind's roles. */
export async function signTx(body: AnyBody | Body, signers: readonly (readonly [Role, SigningKey])[]): Promise<Bytes> {
  const signatures: RoleSignature[] = [];
  for (const [role, key] of signers) signatures.push(await signedAs(body, role, key));
  return encodeAs(SignedHealthTxShape, { bodyBytes: body.bytes, signatures });
}

/** The same transaction with one more signature at the end (a payer countersigning). */
export async function addSignature(raw: Bytes, role: Role, key: SigningKey): Promise<Bytes> {
  const { bodyBytes, signatures } = decodeAs(SignedHealthTxShape, raw, MAX_TX_BYTES);
  const more = await signedAs(parseBody(bodyBytes), role, key);
  return encodeAs(SignedHealthTxShape, { bodyBytes, signatures: [...signatures, more] });
}

/** Structure, chain, kind, roles and every signature over the id. `tx.wrong_chain`, `tx.bad_signature`, as `parseBody`. */
export function parseTx(raw: Bytes, chain: Bytes): HealthTx {
  const { bodyBytes, signatures } = decodeAs(SignedHealthTxShape, raw, MAX_TX_BYTES);
  const body = parseBody(bodyBytes);
  if (!equal(body.chain, chain)) throw new Refused("tx.wrong_chain");
  const roles = signatures.map((signed) => signed.role).join();
  if (!ROLES[body.kind].some((allowed) => allowed.join() === roles)) {
    throw new Refused("tx.bad_signature", "roles do not fit the kind", { kind: body.kind, roles });
  }
  for (const signed of signatures) {
    if (!verify(signed.publicKey, signMessage(chain, signed.role, body.id), signed.signature)) {
      throw new Refused("tx.bad_signature", "", { kind: body.kind, role: signed.role });
    }
  }
  return { body, signatures, raw };
}

async function signedAs(body: AnyBody | Body, role: Role, key: SigningKey): Promise<RoleSignature> {
  return { role, publicKey: key.public, signature: await key.sign(signMessage(body.chain, role, body.id)) };
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(ROLES, kind);
}
