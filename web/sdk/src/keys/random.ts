import type { Bytes } from "../bytes.ts";

/** n -> n random bytes. The platform's generator except where vectors are made. */
export type Random = (count: number) => Bytes;

export const systemRandom: Random = (count) => crypto.getRandomValues(new Uint8Array(count));
