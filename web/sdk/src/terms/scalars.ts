// Scalars with their bounds (`src/hce/foundation/types/scalars.py`).

import { bytes, integer, pattern } from "../codec/shape.ts";

export const bytes32 = bytes(32);
export const chainId = bytes(16);
export const address = bytes(20);
export const digest32 = bytes(32);
export const publicKey = bytes(32);
export const signature = bytes(64);
/** X-Wing public key. */
export const sealKey = bytes(1216);
/** Heights, epochs, turns, Unix milliseconds: whole numbers that JavaScript reads exactly. */
export const count = integer(0);
export const nodeIndex = integer(0, 255);
export const amount = bytes(0, 32);
/** A day, YYYY-MM-DD: sorts as text. */
export const isoDate = pattern(/^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$/);
