// Headers, commits, genesis and what nodes prove (`docs/formats.md`, sections Blocks and Genesis).

import type { Bytes } from "../bytes.ts";
import { anyBytes, bool, bytes, cid, encodeAs, integer, list, nullable, type Of, struct, text } from "../codec/shape.ts";
import { cidOfDagCbor } from "../codec/cid.ts";
import { ListProofShape } from "../proofs/listhash.ts";
import { MapProofShape } from "../proofs/authmap.ts";
import { address, amount, bytes32, chainId, count, digest32, nodeIndex, publicKey, signature } from "./scalars.ts";

export const RULES_VERSION = 1;
export const MAX_NODES = 9;
/** Keys one question about the state may ask for. */
export const MAX_STATE_KEYS = 250;

/** Votes that make a block final: more than two thirds of n (7 of 9). */
export function quorum(n: number): number {
  return Math.floor((2 * n) / 3) + 1;
}

/** Key shares and consent votes: two thirds of n, rounded up (6 of 9). */
export function twoThirds(n: number): number {
  return Math.ceil((2 * n) / 3);
}

/** One super node as consensus sees it. */
export const NodeShape = struct({
  operator: address,
  consensusKey: publicKey,
  linkKey: publicKey,
  serviceKey: publicKey,
  power: integer(1, 1),
});
export type Node = Of<typeof NodeShape>;

/** The only thing voted on. Block id = CID of its DAG-CBOR. */
export const ConsensusHeaderShape = struct({
  version: integer(1, 65535),
  chain: chainId,
  height: count,
  epoch: count,
  turn: count,
  slot: integer(0, 255),
  timeMs: count,
  parent: nullable(cid),
  lastCommit: nullable(cid),
  evidence: nullable(cid),
  ledgerHeader: cid,
});
export type ConsensusHeader = Of<typeof ConsensusHeaderShape>;

export const HealthHeadShape = struct({ txsRoot: digest32, receiptsRoot: digest32, stateRoot: digest32 });

export const LedgerHeaderShape = struct({
  version: integer(1, 65535),
  valueHead: bytes(0, 2048),
  healthHead: HealthHeadShape,
  crossRoot: digest32,
  nextEpoch: count,
  nextValidators: cid,
  paramsHash: digest32,
});

/** Precommits of quorum(n) nodes for one block in one round, sorted by index. */
export const CommitShape = struct({
  blockId: cid,
  round: integer(0, 2 ** 31),
  signatures: list(struct({ index: nodeIndex, signature }), MAX_NODES),
});
export type Commit = Of<typeof CommitShape>;

/** A header with the precommits that made it final. */
export const FinalHeaderShape = struct({ header: ConsensusHeaderShape, ledger: LedgerHeaderShape, commit: nullable(CommitShape) });
export type FinalHeader = Of<typeof FinalHeaderShape>;

/** What became of one health transaction. */
export const HealthReceiptShape = struct({
  txId: cid,
  ok: bool,
  code: text(64),
  steps: count,
  fee: amount,
  produced: list(bytes32, 1_000),
});
export type HealthReceipt = Of<typeof HealthReceiptShape>;

/** Values of the health map after one final block, in the order of the keys asked for; null = absent. */
export const StateProofShape = struct({
  final: FinalHeaderShape,
  values: list(struct({ value: nullable(anyBytes), proof: MapProofShape }), MAX_STATE_KEYS),
});
export type StateProof = Of<typeof StateProofShape>;

/** A health transaction and its receipt, both under a final header. */
export const TxProofShape = struct({
  final: FinalHeaderShape,
  tx: anyBytes,
  txProof: ListProofShape,
  receipt: HealthReceiptShape,
  receiptProof: ListProofShape,
});
export type TxProof = Of<typeof TxProofShape>;

/** Numbers of the network; what each means is told in `src/hce/service/terms/genesis.py`. */
export const ParamsShape = struct({
  blockIntervalMs: integer(50, 60_000),
  slotsPerTurn: integer(1, 255),
  replayWindow: integer(10, 10_000),
  blockSteps: integer(1_000),
  txSteps: integer(1_000),
  stepPriceAhce: integer(0),
  gasLimit: integer(21_000, 2 ** 40),
  baseFeeWei: integer(7),
  entryMaxBlocks: integer(1, 10_000),
  entryMaxMs: integer(1_000),
  rotationBlocks: integer(1, 100_000),
  anchorBlocks: integer(1, 100_000),
});
export type Params = Of<typeof ParamsShape>;

/** The keyholders' public half of lock B. */
export const KeyholderStateShape = struct({
  keyId: bytes32,
  threshold: integer(1, 32),
  publicKey: bytes32,
  memberKeys: list(bytes32, 32, 1),
  sharingEpoch: integer(),
});
export type KeyholderState = Of<typeof KeyholderStateShape>;

/** What everybody must agree on before anything can be checked. */
export const GenesisShape = struct({
  version: integer(1, RULES_VERSION),
  chain: chainId,
  eip155Id: integer(1, 2 ** 32),
  timeMs: count,
  params: ParamsShape,
  nodes: list(struct({ node: NodeShape, linkCertificate: anyBytes }), MAX_NODES, 1),
  balances: list(struct({ address, amount }), 10_000),
  keyholders: KeyholderStateShape,
});
export type Genesis = Of<typeof GenesisShape>;

/** The name of a network: what a client that trusts a genesis compares. */
export function genesisCid(genesis: Genesis): Bytes {
  return cidOfDagCbor(encodeAs(GenesisShape, genesis));
}
