// The light client: decides what is final, from the genesis alone. No I/O.
//
// While the node set is the genesis set, one commit of quorum(n) of it proves any header; a header that names another next set is
// refused until set changes exist. A proof says nothing about now: at first contact an old header is as well proven as the newest. So
// state is believed only from a header younger than a bound. A chain that has halted has no such header; who wants its last state
// says so (`maxAgeMs: null`).

import { type Bytes, equal, toHex } from "../bytes.ts";
import { cidOfDagCbor } from "../codec/cid.ts";
import { encode } from "../codec/dagcbor.ts";
import { signingBytes } from "../codec/hashing.ts";
import { encodeAs } from "../codec/shape.ts";
import { PeerFault } from "../errors.ts";
import { verify } from "../keys/sign.ts";
import {
  type Commit,
  type ConsensusHeader,
  ConsensusHeaderShape,
  type FinalHeader,
  FinalHeaderShape,
  type Genesis,
  type HealthReceipt,
  HealthReceiptShape,
  LedgerHeaderShape,
  type Node,
  NodeShape,
  quorum,
  type StateProof,
  type TxProof,
} from "../terms/chain.ts";
import { HealthReader } from "../terms/states.ts";
import { verifyMapProof } from "./authmap.ts";
import { verifyListProof } from "./listhash.ts";

/** Oldest header that speaks about now. */
export const MAX_HEADER_AGE_MS = 10 * 60_000;
const PRECOMMIT = 2;

/** Trusts one genesis and nothing else. Remembers the highest height it has seen proven. */
export class LightClient {
  readonly genesis: Genesis;
  readonly nodes: readonly Node[];
  readonly #validators: Bytes;
  readonly #now: () => number;
  readonly #maxAgeMs: number | null;
  #height = 0;
  #timeMs: number;
  #last: Bytes | null = null;

  /** `now` gives Unix milliseconds. */
  constructor(genesis: Genesis, now: () => number, maxAgeMs: number | null = MAX_HEADER_AGE_MS) {
    this.genesis = genesis;
    this.nodes = genesis.nodes.map((member) => member.node);
    this.#validators = cidOfDagCbor(encode(this.nodes.map((node) => NodeShape.write(node))));
    this.#now = now;
    this.#maxAgeMs = maxAgeMs;
    this.#timeMs = genesis.timeMs;
  }

  /** Highest proven height. */
  get height(): number {
    return this.#height;
  }

  /** Its block's time. */
  get timeMs(): number {
    return this.#timeMs;
  }

  /** A proven header that speaks about now; throws as `accept`, and `header.too_old`. */
  head(final: FinalHeader): FinalHeader {
    this.accept(final);
    const ageMs = this.#now() - final.header.timeMs;
    if (this.#maxAgeMs !== null && ageMs > this.#maxAgeMs) {
      throw new PeerFault("header.too_old", "", { height: final.header.height, ageMs, maxMs: this.#maxAgeMs });
    }
    return final;
  }

  /** The header, if quorum(n) of the trusted nodes precommitted it. `consensus.commit_invalid`, `header.not_final`, `proof.bad`. */
  accept(final: FinalHeader): FinalHeader {
    const name = encodeAs(FinalHeaderShape, final);
    if (this.#last !== null && equal(name, this.#last)) return final;
    const { header, ledger, commit } = final;
    if (commit === null) throw new PeerFault("header.not_final", "no commit", { height: header.height });
    verifyCommit(this.genesis.chain, this.nodes, header, commit);
    if (!equal(cidOfDagCbor(encodeAs(LedgerHeaderShape, ledger)), header.ledgerHeader)) {
      throw new PeerFault("proof.bad", "ledger header", { height: header.height });
    }
    if (!equal(ledger.nextValidators, this.#validators)) {
      throw new PeerFault("header.not_final", "the node set changed; this version follows the genesis set only");
    }
    if (header.height > this.#height) {
      this.#height = header.height;
      this.#timeMs = header.timeMs;
    }
    this.#last = name;
    return final;
  }

  /** Proven values of these health keys in one final block of at least height `notBefore`. */
  state(keys: readonly Bytes[], proof: StateProof, notBefore = 0): ReadonlyMap<string, Bytes | null> {
    this.head(proof.final);
    if (proof.final.header.height < notBefore) {
      throw new PeerFault("header.not_final", "older than asked for", { expected: notBefore, actual: proof.final.header.height });
    }
    return requireState(proof, keys);
  }

  /** Proven receipt of the transaction with this id, however long ago. */
  transaction(txId: Bytes, proof: TxProof): HealthReceipt {
    this.accept(proof.final);
    const receipt = requireTx(proof);
    if (!equal(receipt.txId, txId)) throw new PeerFault("proof.bad", "another transaction", { expected: toHex(txId) });
    return receipt;
  }
}

/** `consensus.commit_invalid` unless quorum(n) of `nodes` precommitted this header in the round the commit names. */
export function verifyCommit(chain: Bytes, nodes: readonly Node[], header: ConsensusHeader, commit: Commit): void {
  const blockId = cidOfDagCbor(encodeAs(ConsensusHeaderShape, header));
  if (!equal(header.chain, chain)) throw invalid("another chain");
  if (!equal(commit.blockId, blockId)) throw invalid("another block");
  const indexes = commit.signatures.map((signed) => signed.index);
  if (indexes.length < quorum(nodes.length)) throw invalid("too few precommits");
  const ascending = indexes.every((index, i) => i === 0 || indexes[i - 1]! < index);
  if (!ascending || indexes.at(-1)! >= nodes.length) throw invalid("indexes repeat, are unsorted or outside the node list");
  const message = signingBytes("vote", chain, PRECOMMIT, header.epoch, header.height, commit.round, commit.blockId);
  for (const signed of commit.signatures) {
    if (!verify(nodes[signed.index]!.consensusKey, message, signed.signature)) throw invalid("wrong signature");
  }
}

/** The proven values of these keys by key in hex; the header itself is the light client's question. */
export function requireState(proof: StateProof, keys: readonly Bytes[]): ReadonlyMap<string, Bytes | null> {
  if (keys.length !== proof.values.length) throw new PeerFault("proof.bad", "number of values");
  const root = proof.final.ledger.healthHead.stateRoot;
  const values = new Map<string, Bytes | null>();
  keys.forEach((key, i) => {
    const proven = proof.values[i]!;
    if (!verifyMapProof(root, key, proven.value, proven.proof))
      throw new PeerFault("proof.bad", "health state", { key: toHex(key) });
    values.set(toHex(key), proven.value);
  });
  return values;
}

/** The proven receipt of the proven transaction; both stand at the same place of their lists. */
export function requireTx(proof: TxProof): HealthReceipt {
  const { txProof, receiptProof, receipt } = proof;
  const { txsRoot, receiptsRoot } = proof.final.ledger.healthHead;
  const samePlace = txProof.index === receiptProof.index && txProof.count === receiptProof.count;
  if (!samePlace || !verifyListProof(txsRoot, proof.tx, txProof)) throw new PeerFault("proof.bad", "health transaction");
  if (!verifyListProof(receiptsRoot, encodeAs(HealthReceiptShape, receipt), receiptProof)) {
    throw new PeerFault("proof.bad", "health receipt");
  }
  return receipt;
}

/** Typed reads over proven values. */
export function readerOver(values: ReadonlyMap<string, Bytes | null>): HealthReader {
  return new HealthReader(values);
}

function invalid(detail: string): PeerFault {
  return new PeerFault("consensus.commit_invalid", detail);
}
