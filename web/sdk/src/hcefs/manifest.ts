// The placement manifest: which shards carry which ciphertext, and which node keeps which (`docs/formats.md`, Shards).

import { type Bytes, compare, equal } from "../bytes.ts";
import { cidOfDagCbor, cidOfRaw } from "../codec/cid.ts";
import { digest } from "../codec/hashing.ts";
import { cid, decodeAs, encodeAs, integer, list, type Of, oneOf, struct } from "../codec/shape.ts";
import { Malformed, PeerFault } from "../errors.ts";
import { MAX_NODES, quorum } from "../terms/chain.ts";
import { chainId } from "../terms/scalars.ts";
import { decodeShards, encodeShards, MAX_SHARDS, shardSize } from "./erasure.ts";

const DOMAIN = "hce/placement/1";
const MAX_PLACEMENT_BYTES = 1 << 20;

const PlacedBlobShape = struct({ ciphertext: cid, sizeBytes: integer(1, 2 ** 32), shards: list(cid, MAX_SHARDS, 1) });
export type PlacedBlob = Of<typeof PlacedBlobShape>;
const PlacementManifestShape = struct({
  domain: oneOf(DOMAIN),
  chain: chainId,
  blobs: list(PlacedBlobShape),
  k: integer(1, MAX_NODES),
  n: integer(1, MAX_NODES),
});

/** One ciphertext, ready to be gathered: `nodes[i]` keeps `shards[i]`. */
export interface Placed {
  readonly ciphertext: Bytes;
  readonly sizeBytes: number;
  readonly k: number;
  readonly shards: readonly Bytes[];
  readonly nodes: readonly number[];
}

/** Shards for n nodes: any k of k + m restore the content. */
export function ladder(n: number): { k: number; m: number } {
  if (!(n >= 1 && n <= MAX_NODES)) throw new RangeError(`the ladder knows 1 to ${MAX_NODES} nodes`);
  const k = n <= 3 ? 1 : quorum(n) - 1;
  return { k, m: n - k };
}

/** Node of each of the k + m shards: nodes in falling order of their scores. */
export function place(chain: Bytes, ciphertext: Bytes, shards: number, n: number): number[] {
  if (shards > n) throw invalid("more shards than nodes");
  const scores = Array.from({ length: n }, (_, node) => ({ node, score: digest("hce/place/1", chain, ciphertext, node) }));
  scores.sort((left, right) => compare(right.score, left.score));
  return scores.slice(0, shards).map(({ node }) => node);
}

/** A ciphertext's shards by number, as its author makes them, and their entry in the manifest. */
export function disperse(ciphertext: Bytes, n: number): { placed: PlacedBlob; shards: Bytes[] } {
  const { k, m } = ladder(n);
  const shards = encodeShards(ciphertext, k, m);
  return { placed: { ciphertext: cidOfRaw(ciphertext), sizeBytes: ciphertext.length, shards: shards.map(cidOfRaw) }, shards };
}

/** DAG-CBOR of the manifest and its name. */
export function makeManifest(chain: Bytes, blobs: readonly PlacedBlob[], n: number): { placement: Bytes; placementCid: Bytes } {
  const placement = encodeAs(PlacementManifestShape, { domain: DOMAIN, chain, blobs, k: ladder(n).k, n });
  return { placement, placementCid: cidOfDagCbor(placement) };
}

/** Every ciphertext of the manifest with the nodes of its shards, in record order. `malformed`, `placement.invalid`. */
export function readManifest(raw: Bytes, chain: Bytes): Placed[] {
  const manifest = decodeAs(PlacementManifestShape, raw, MAX_PLACEMENT_BYTES);
  if (!equal(manifest.chain, chain)) throw invalid("of another chain");
  return manifest.blobs.map((blob) => {
    const { k, n } = manifest;
    const m = blob.shards.length - k;
    if (m < 0 || (k > 1 && m === 0)) throw invalid("too few shards");
    if (k === 1 && blob.shards.some((shard) => !equal(shard, blob.ciphertext))) throw invalid("a replica is the ciphertext itself");
    return { ...blob, k, nodes: place(chain, blob.ciphertext, blob.shards.length, n) };
  });
}

/** Whether these bytes are that shard. */
export function isShard(placed: Placed, number: number, shard: Bytes): boolean {
  return shard.length === shardSize(placed.sizeBytes, placed.k) && equal(cidOfRaw(shard), placed.shards[number]!);
}

/** The ciphertext from k good shards, verified against its name; `blob.miscoded` when good shards give another. */
export function contentOf(placed: Placed, shards: ReadonlyMap<number, Bytes>): Bytes {
  const content = decodeShards(shards, placed.k, placed.sizeBytes);
  if (!equal(cidOfRaw(content), placed.ciphertext)) throw new PeerFault("blob.miscoded");
  return content;
}

function invalid(detail: string): Malformed {
  return new Malformed(detail, {}, "placement.invalid");
}
