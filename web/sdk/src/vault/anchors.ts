// What an owner makes of the nodes' anchors: does each receipt he has stand in the list its node said on chain?
//
// Answers are not signed: a denial or a false proof may come from somebody between, so neither accuses the node. It goes on owing a
// proof, by name, and only what the chain itself shows is a finding (`src/hce/service/vault/anchors.py`).

import { toHex } from "../bytes.ts";
import { verifyListProof } from "../proofs/listhash.ts";
import type { Params } from "../terms/chain.ts";
import { type AnchorProof, receiptLeaf, type ReleaseReceipt, type SignedReceipt } from "../terms/grants.ts";
import { ANCHOR_LATE_PERIODS } from "../terms/payloads.ts";
import type { AnchorState, EntryState } from "../terms/states.ts";
import type { Finding } from "./auditing.ts";

/** Every receipt is in one of the four. */
export interface AnchorReport {
  /** Proven to stand in the list its node said on chain. */
  readonly anchored: number;
  /** Of a period that is not over, or may still be anchored. */
  readonly waiting: number;
  /** Of anchored periods, without a proof that stands: ask again. */
  readonly unanswered: number;
  readonly missing: readonly Finding[];
  /** The nodes that owe the unanswered proofs. */
  readonly owing: readonly number[];
  /** Nothing is missing and nobody owes an answer. */
  readonly complete: boolean;
}

/** A receipt with what the chain proves about it and what was answered for its node. */
export interface ReceiptOnChain {
  readonly signed: SignedReceipt;
  readonly entry: EntryState | null;
  /** Of its node for its period. */
  readonly anchor: AnchorState | null;
  readonly proofs: readonly AnchorProof[];
}

/** The period whose list a receipt belongs to. */
export function periodOf(receipt: ReleaseReceipt, params: Params): number {
  return Math.floor(receipt.height / params.anchorBlocks);
}

/** `height` is a proven final height not above those of the proven states. */
export function checkAnchors(receipts: readonly ReceiptOnChain[], height: number, params: Params): AnchorReport {
  const verdicts = receipts.map((one) => ({ node: one.signed.receipt.node, verdict: judge(one, height, params) }));
  const count = (verdict: string): number => verdicts.filter((one) => one.verdict === verdict).length;
  const missing = verdicts.flatMap(({ verdict }) => (typeof verdict === "string" ? [] : [verdict]));
  const owing = verdicts.filter(({ verdict }) => verdict === "unanswered").map(({ node }) => node);
  const unanswered = count("unanswered");
  return {
    anchored: count("anchored"),
    waiting: count("waiting"),
    unanswered,
    missing,
    owing: [...new Set(owing)].sort((left, right) => left - right),
    complete: missing.length === 0 && unanswered === 0,
  };
}

function judge(one: ReceiptOnChain, height: number, params: Params): "anchored" | "waiting" | "unanswered" | Finding {
  const { receipt } = one.signed;
  const period = periodOf(receipt, params);
  const [subject, detail] = [toHex(receipt.entryId), `node ${receipt.node}, period ${period}`];
  const fits =
    one.entry !== null && one.entry.height <= receipt.height && receipt.height <= one.entry.height + params.entryMaxBlocks;
  if (!fits) return { code: "log.receipt_misdated", subject, detail };
  const { anchor } = one;
  if (anchor === null) {
    const late = Math.floor(height / params.anchorBlocks) > period + 1 + ANCHOR_LATE_PERIODS;
    return late ? { code: "log.not_anchored", subject, detail } : "waiting";
  }
  return one.proofs.some((given) => stands(one.signed, period, anchor, given)) ? "anchored" : "unanswered";
}

function stands(signed: SignedReceipt, period: number, anchor: AnchorState, given: AnchorProof): boolean {
  const counted = given.period === period && given.proof.count === anchor.count;
  return counted && verifyListProof(anchor.root, receiptLeaf(signed), given.proof);
}
