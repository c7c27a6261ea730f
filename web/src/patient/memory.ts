// What this device remembers of the grants it gave: bodies are on no node. Encoded here, locked by `device.ts`.

import { type Bytes, decode, decodeAs, encode, encodeAs, type GrantBody, GrantBodyShape, toHex } from "../../sdk/src/index.ts";

const VERSION = 1;

export interface RememberedGrant {
  readonly grantId: Bytes;
  readonly body: GrantBody;
}

export function encodeMemory(grants: readonly RememberedGrant[]): Bytes {
  return encode([VERSION, grants.map(({ grantId, body }) => [grantId, encodeAs(GrantBodyShape, body)])]);
}

/** Empty for what another version wrote: the log finds grants that were used. */
export function decodeMemory(raw: Bytes | null): readonly RememberedGrant[] {
  const value = raw === null ? null : decode(raw);
  if (!Array.isArray(value) || value[0] !== VERSION) return [];
  return (value[1] as readonly (readonly [Bytes, Bytes])[]).map(([grantId, body]) => ({
    grantId,
    body: decodeAs(GrantBodyShape, body),
  }));
}

/** The newer list with those of the older that it lacks. */
export function merged(older: readonly RememberedGrant[], newer: readonly RememberedGrant[]): readonly RememberedGrant[] {
  const known = new Set(newer.map(({ grantId }) => toHex(grantId)));
  return [...older.filter(({ grantId }) => !known.has(toHex(grantId))), ...newer];
}
