// Systematic Reed-Solomon with a Cauchy matrix over GF(256): any k of k + m shards give the content (`docs/formats.md`, Shards).
// The code corrects losses, not lies: whoever calls has checked each shard against its name, and checks the content against its own.

import type { Bytes } from "../bytes.ts";
import { Malformed, Unavailable } from "../errors.ts";

/** k + m of one content. */
export const MAX_SHARDS = 32;
/** x^8 + x^4 + x^3 + x^2 + 1. */
const POLYNOMIAL = 0x11d;

interface Tables {
  readonly exp: Uint8Array;
  readonly log: Uint8Array;
}
let field: Tables | null = null;

/** k + m shards of `shardSize(data.length, k)` bytes each. `erasure.shards_unfit`. */
export function encodeShards(data: Bytes, k: number, m: number): Bytes[] {
  const size = shardSize(data.length, k);
  if (k < 1 || m < 0 || k + m > MAX_SHARDS || (k > 1 && m === 0)) throw unfit("no such code");
  if (k === 1) return Array.from({ length: 1 + m }, () => data);
  const parts = Array.from({ length: k }, (_, j) => filled(data.subarray(j * size, (j + 1) * size), size));
  return [...parts, ...Array.from({ length: m }, (_, i) => combined(rowOf(k + i, k), parts, size))];
}

/** The content of `size` bytes from any k shards by number. `erasure.too_few_shards`, `erasure.shards_unfit`. */
export function decodeShards(shards: ReadonlyMap<number, Bytes>, k: number, size: number): Bytes {
  const each = shardSize(size, k);
  if (shards.size < k) throw new Unavailable("erasure.too_few_shards", "", { expected: k, actual: shards.size });
  const chosen = [...shards].sort(([left], [right]) => left - right).slice(0, k);
  if (chosen.some(([, shard]) => shard.length !== each)) throw unfit("size");
  const given = chosen.map(([, shard]) => shard);
  const rows = chosen.map(([number]) => rowOf(number, k));
  const whole = new Uint8Array(k * each);
  inverted(rows).forEach((row, j) => whole.set(combined(row, given, each), j * each));
  return whole.slice(0, size);
}

/** Bytes of each shard of a content of `size` bytes. */
export function shardSize(size: number, k: number): number {
  if (size < 1) throw unfit("no content");
  return Math.ceil(size / k);
}

/** Row of the generator matrix: shard `number` as a sum of the k parts. */
function rowOf(number: number, k: number): number[] {
  if (k === 1) return [1];
  return Array.from({ length: k }, (_, j) => (number < k ? Number(j === number) : inverse(number ^ j)));
}

function combined(row: readonly number[], parts: readonly Bytes[], size: number): Bytes {
  const { exp, log } = tables();
  const sum = new Uint8Array(size);
  row.forEach((factor, j) => {
    const part = parts[j]!;
    if (factor === 0) return;
    for (let at = 0; at < size; at += 1) {
      const byte = part[at]!;
      if (byte !== 0) sum[at]! ^= exp[log[factor]! + log[byte]!]!;
    }
  });
  return sum;
}

/** Gauss-Jordan. Every choice of k rows of this matrix can be inverted: that is what the Cauchy part is for. */
function inverted(rows: readonly number[][]): number[][] {
  const n = rows.length;
  const work = rows.map((row, i) => [...row, ...Array.from({ length: n }, (_, j) => Number(i === j))]);
  for (let column = 0; column < n; column += 1) {
    const pivot = work.findIndex((row, i) => i >= column && row[column] !== 0);
    if (pivot < 0) throw unfit("shards do not differ");
    [work[column], work[pivot]] = [work[pivot]!, work[column]!];
    const scale = inverse(work[column]![column]!);
    work[column] = work[column]!.map((value) => product(value, scale));
    for (let i = 0; i < n; i += 1) {
      const factor = work[i]![column]!;
      if (i !== column && factor !== 0) work[i] = work[i]!.map((value, j) => value ^ product(work[column]![j]!, factor));
    }
  }
  return work.map((row) => row.slice(n));
}

function product(left: number, right: number): number {
  const { exp, log } = tables();
  return left === 0 || right === 0 ? 0 : exp[log[left]! + log[right]!]!;
}

function inverse(value: number): number {
  const { exp, log } = tables();
  return exp[255 - log[value]!]!;
}

function tables(): Tables {
  if (field !== null) return field;
  const [exp, log] = [new Uint8Array(512), new Uint8Array(256)];
  let value = 1;
  for (let power = 0; power < 255; power += 1) {
    exp[power] = value;
    exp[power + 255] = value;
    log[value] = power;
    value = value & 0x80 ? (value << 1) ^ POLYNOMIAL : value << 1;
  }
  field = { exp, log };
  return field;
}

function filled(part: Bytes, size: number): Bytes {
  const whole = new Uint8Array(size);
  whole.set(part);
  return whole;
}

function unfit(detail: string): Malformed {
  return new Malformed(detail, {}, "erasure.shards_unfit");
}
