// Values of the health map and their keys (`docs/formats.md`, section State maps). Read from proven bytes only.

import { bigEndian, type Bytes, concat, toHex, utf8 } from "../bytes.ts";
import { cid, decodeAs, integer, nullable, type Of, oneOf, type Shape, struct } from "../codec/shape.ts";
import { CredentialBodyShape, OrganisationCertificateShape } from "./payloads.ts";
import { bytes32, count, digest32, publicKey } from "./scalars.ts";

export const OrganisationStateShape = struct({
  certificate: OrganisationCertificateShape,
  certifiedHeight: count,
  revokedHeight: nullable(count),
});
export type OrganisationState = Of<typeof OrganisationStateShape>;

export const CredentialStateShape = struct({
  body: CredentialBodyShape,
  issuedHeight: count,
  revokedHeight: nullable(count),
  revokedMs: nullable(count),
});
export type CredentialState = Of<typeof CredentialStateShape>;

export const CompartmentStateShape = struct({
  ownerDigest: digest32,
  recoveryDigest: digest32,
  version: integer(),
  /** Grants opened below this height are void. */
  grantsValidFrom: count,
  openedHeight: count,
  rotatedBy: nullable(oneOf("owner", "recovery")),
});
export type CompartmentState = Of<typeof CompartmentStateShape>;

export const RecordStateShape = struct({
  orgId: bytes32,
  envelopeDigest: digest32,
  keyCommitment: digest32,
  policyCommitment: digest32,
  placement: cid,
  height: count,
  /** Block time of inclusion: the author's credential is judged at it. */
  timeMs: count,
});
export type RecordState = Of<typeof RecordStateShape>;

export const GrantStateShape = struct({
  commitment: digest32,
  readerKey: publicKey,
  revokeKey: publicKey,
  notBeforeMs: count,
  expiresAtMs: count,
  payer: bytes32,
  height: count,
  revokedHeight: nullable(count),
  /** How many access entries stand under this grant: the owner's log must hold exactly as many. */
  entries: integer(),
  entriesHash: digest32,
});
export type GrantState = Of<typeof GrantStateShape>;

export const EntryStateShape = struct({ grantId: bytes32, commitment: digest32, height: count, timeMs: count, ordinal: integer() });
export type EntryState = Of<typeof EntryStateShape>;

/** What a node said of the release receipts it wrote in one period. */
export const AnchorStateShape = struct({ count: integer(), root: digest32, height: count });
export type AnchorState = Of<typeof AnchorStateShape>;

export const stateKey = {
  organisation: (orgId: Bytes) => keyOf("org/", orgId),
  credential: (credentialId: Bytes) => keyOf("cred/", credentialId),
  compartment: (compartmentId: Bytes) => keyOf("comp/", compartmentId),
  record: (recordId: Bytes) => keyOf("rec/", recordId),
  grant: (grantId: Bytes) => keyOf("grant/", grantId),
  entry: (entryId: Bytes) => keyOf("entry/", entryId),
  anchor: (serviceKey: Bytes, period: number) => keyOf("anchor/", serviceKey, bigEndian(period, 8)),
} as const;

/** Typed reads of proven values. Asking for a key that was not proven is a mistake of this program. */
export class HealthReader {
  readonly #values: ReadonlyMap<string, Bytes | null>;

  /** `values` by key in hex. */
  constructor(values: ReadonlyMap<string, Bytes | null>) {
    this.#values = values;
  }

  organisation(orgId: Bytes): OrganisationState | null {
    return this.#read(OrganisationStateShape, stateKey.organisation(orgId));
  }

  credential(credentialId: Bytes): CredentialState | null {
    return this.#read(CredentialStateShape, stateKey.credential(credentialId));
  }

  compartment(compartmentId: Bytes): CompartmentState | null {
    return this.#read(CompartmentStateShape, stateKey.compartment(compartmentId));
  }

  record(recordId: Bytes): RecordState | null {
    return this.#read(RecordStateShape, stateKey.record(recordId));
  }

  grant(grantId: Bytes): GrantState | null {
    return this.#read(GrantStateShape, stateKey.grant(grantId));
  }

  entry(entryId: Bytes): EntryState | null {
    return this.#read(EntryStateShape, stateKey.entry(entryId));
  }

  anchor(serviceKey: Bytes, period: number): AnchorState | null {
    return this.#read(AnchorStateShape, stateKey.anchor(serviceKey, period));
  }

  has(key: Bytes): boolean {
    return this.#values.has(toHex(key));
  }

  #read<T>(shape: Shape<T>, key: Bytes): T | null {
    const raw = this.#values.get(toHex(key));
    if (raw === undefined) throw new Error("this key was not proven");
    return raw === null ? null : decodeAs(shape, raw);
  }
}

function keyOf(prefix: string, ...parts: readonly Bytes[]): Bytes {
  return concat(utf8(prefix), ...parts);
}
