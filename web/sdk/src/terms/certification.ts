// Who is certified for what, when: the rule of `src/hce/service/terms/certification.py`, over proven values.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { type Fields, Refused } from "../errors.ts";
import type { CredentialState, HealthReader, OrganisationState, RecordState } from "./states.ts";

export type Power = CredentialState["body"]["powers"][number];

/** The organisation in force at (height, timeMs) with this power; `organisation.not_certified`. */
export function requireOrganisation(
  state: HealthReader,
  orgId: Bytes,
  power: Power | null,
  height: number,
  timeMs: number,
): OrganisationState {
  const refuse = (detail: string): Refused => new Refused("organisation.not_certified", detail, { orgId: toHex(orgId) });
  const found = state.organisation(orgId);
  if (found === null) throw refuse("unknown");
  const { certificate, revokedHeight } = found;
  if (revokedHeight !== null && revokedHeight <= height) throw refuse("revoked");
  if (!(certificate.notBeforeMs <= timeMs && timeMs < certificate.expiresAtMs)) throw refuse("outside its dates");
  if (power !== null && !certificate.powers.includes(power)) throw refuse("lacks the power");
  return found;
}

/** The credential in force at (height, timeMs) with this power, under an organisation that has it too. For what happens now. */
export function requireCredential(
  state: HealthReader,
  credentialId: Bytes,
  power: Power,
  height: number,
  timeMs: number,
): CredentialState {
  const found = credentialInForce(state, credentialId, power, height, timeMs);
  requireOrganisation(state, found.body.orgId, power, height, timeMs);
  return found;
}

/** The credential that might have written this record: in force with `write` at its inclusion, of the organisation that committed it. */
export function requireAuthor(state: HealthReader, credentialId: Bytes, record: RecordState): CredentialState {
  const found = credentialInForce(state, credentialId, "write", record.height, record.timeMs);
  if (!equal(found.body.orgId, record.orgId)) throw notCertified("of another organisation than the record's", credentialId);
  return found;
}

function credentialInForce(
  state: HealthReader,
  credentialId: Bytes,
  power: Power,
  height: number,
  timeMs: number,
): CredentialState {
  const found = state.credential(credentialId);
  if (found === null) throw notCertified("unknown", credentialId);
  const { body, issuedHeight, revokedHeight } = found;
  if (issuedHeight > height) throw notCertified("not yet issued then", credentialId, { issuedHeight });
  if (revokedHeight !== null && revokedHeight <= height) throw notCertified("revoked", credentialId, { revokedHeight });
  if (!(body.notBeforeMs <= timeMs && timeMs < body.expiresAtMs)) throw notCertified("outside its dates", credentialId);
  if (!body.powers.includes(power)) throw notCertified("lacks the power", credentialId, { power });
  return found;
}

function notCertified(detail: string, credentialId: Bytes, fields: Fields = {}): Refused {
  return new Refused("credential.not_certified", detail, { credentialId: toHex(credentialId), ...fields });
}
