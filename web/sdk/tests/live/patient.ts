// A patient's device that does what it is told: one JSON line in, one JSON line out. `tests/journeys/test_patient_in_typescript.py`
// plays the people around it. Nothing but this process ever has the keys.

import { type Bytes, fromHex, toHex } from "../../src/bytes.ts";
import { decodeAs, encodeAs } from "../../src/codec/shape.ts";
import { explain } from "../../src/human/explain.ts";
import { sentence } from "../../src/human/sentence.ts";
import { Remote } from "../../src/errors.ts";
import { CompartmentKeys } from "../../src/keys/compartments.ts";
import { Root } from "../../src/keys/derive.ts";
import { type Language, newWords, seedFromWords } from "../../src/keys/words.ts";
import { claimAccount, type ClaimDesk, finishClaim, prepareClaim } from "../../src/net/claiming.ts";
import { findOwner } from "../../src/net/handovers.ts";
import { Network } from "../../src/net/network.ts";
import { prepareRotation, rotateAccount } from "../../src/net/rotating.ts";
import { type KnownGrant, Owner } from "../../src/net/owner.ts";
import { AccessRequestShape, grantMessage, SignedCardShape, SignedTokenShape } from "../../src/terms/grants.ts";
import type { AuditReport } from "../../src/vault/auditing.ts";
import { stateKey } from "../../src/terms/states.ts";
import { type Acts, answerLines } from "./lines.ts";

interface Device {
  readonly network: Network;
  readonly owner: Owner;
  readonly grants: KnownGrant[];
}
let device: Device | null = null;

type Arguments = Readonly<Record<string, string>>;

const acts: Acts<Arguments> = {
  /** A device with these words, or with fresh ones. */
  begin: async ({ urls, genesis, words, language }) => {
    const sentenceOfWords = words ?? (await newWords(language as Language));
    const network = await Network.join(urls!.split(" "), { trust: fromHex(genesis!) });
    const keys = await CompartmentKeys.open(await Root.fromSeed(await seedFromWords(sentenceOfWords)));
    const owner = new Owner(network, keys);
    device = { network, owner, grants: [] };
    return {
      words: sentenceOfWords,
      compartment: toHex(owner.compartmentId),
      owner_digest: toHex(keys.ownerDigest),
      recovery_digest: toHex(keys.recoveryDigest),
      opened: (await owner.compartment()) !== null,
    };
  },
  /** The same device takes over what an organisation kept: nothing of the card goes to its gateway. */
  claim: async ({ gateway, code, org_id, words }) => {
    const { network, owner } = held();
    const root = await Root.fromSeed(await seedFromWords(words!));
    const signed = await prepareClaim(network, root, code!, fromHex(org_id!));
    const desk = deskAt(gateway!);
    const found = await claimAccount(network, root, signed, desk);
    await finishClaim(found, fromHex(org_id!), 1, desk);
    device = { network, owner: found.owner, grants: [] };
    return { before: toHex(owner.compartmentId), compartment: toHex(found.owner.compartmentId) };
  },
  /** New words for the account of these. */
  renew: async ({ words, language }) => {
    const { network } = held();
    const [seed, again] = [await seedFromWords(words!), await seedFromWords(words!)];
    const found = (await findOwner(network, await Root.fromSeed(again)))!;
    const fresh = await newWords(language as Language);
    const rotation = await prepareRotation(network, found, await Root.fromSeed(await seedFromWords(fresh)));
    const shown = sentence(explain(rotation.body.bytes), language as Language, () => null);
    const { owner } = await rotateAccount(network, found, seed, rotation);
    device = { network, owner, grants: [] };
    return { words: fresh, compartment: toHex(owner.compartmentId), shown };
  },
  /** Another device: nothing but the words. */
  find: async ({ words }) => {
    const { network } = held();
    const found = await findOwner(network, await Root.fromSeed(await seedFromWords(words!)));
    if (found !== null) device = { network, owner: found.owner, grants: [] };
    return found === null ? null : toHex(found.owner.compartmentId);
  },
  card: async ({ org_id }) => {
    const { owner } = held();
    const card = await owner.publishCard();
    return { card: hexOf(SignedCardShape, card), token: hexOf(SignedTokenShape, await owner.token(fromHex(org_id!), 1)) };
  },
  record: async () => {
    const { opened, refused } = await held().owner.readOwn();
    return {
      items: Object.fromEntries(opened.flatMap(({ manifest }) => manifest.items.map((item) => [item.name, toHex(item.content)]))),
      authors: [...new Set(opened.map(({ author }) => author.body.name))],
      refused: Object.fromEntries([...refused].map(([name, error]) => [name, error.code])),
    };
  },
  waiting: async () => (await held().owner.quarantine()).map(({ session }) => session.openings.length),
  /** The one that `card` gave. */
  revoke_token: () => held().owner.revokeToken(1),
  accept: async () => {
    const { owner } = held();
    for (const one of await owner.quarantine()) await owner.accept(one);
    return null;
  },
  grant: async ({ request, language }) => {
    const { owner, network, grants } = held();
    const asked = decodeAs(AccessRequestShape, fromHex(request!));
    const made = await owner.prepareGrant(asked, { lastsMs: 24 * 3_600_000, dateFrom: asked.dateFrom, dateTo: asked.dateTo });
    const name = (await network.reader(stateKey.credential(asked.grantee))).credential(asked.grantee)!.body.name;
    const shown = sentence(explain(grantMessage(made.body)), language as Language, () => name);
    await owner.leave(made, asked);
    await owner.waitGranted(made);
    grants.push({ grantId: made.grantId, body: made.body });
    return { grant: toHex(made.grantId), shown };
  },
  revoke: async ({ grant }) => {
    const { owner, grants } = held();
    const known = grants.find(({ grantId }) => toHex(grantId) === grant);
    await owner.revoke(fromHex(grant!), known?.body?.nonce);
    return (await owner.grantState(fromHex(grant!)))?.revokedHeight;
  },
  log: async () => reported(await held().owner.audit(held().grants)),
  /** What a device that has forgotten its grants can still say. */
  log_from_words: async () => {
    const { owner } = held();
    const grants = await owner.grantsInLog();
    return { grants: grants.map(({ grantId }) => toHex(grantId)), ...reported(await owner.audit(grants)) };
  },
  anchors: async () => {
    const { anchored, waiting, unanswered, missing } = await held().owner.checkAnchors();
    return { anchored, waiting, unanswered, missing };
  },
  erase: async () => {
    const { owner } = held();
    const listing = await owner.listing();
    const receipts = await owner.erase([...listing.values()].map(([first]) => first!.recordId));
    return receipts.map(({ receipt }) => receipt.node);
  },
};

function deskAt(gateway: string): ClaimDesk {
  const post = async (path: string, signed: Bytes): Promise<{ readonly answer?: string; readonly code?: string }> => {
    const answer = await fetch(gateway + path, { method: "POST", body: JSON.stringify({ signed: toHex(signed) }) });
    const told = (await answer.json()) as { readonly answer?: string; readonly code: string };
    if (!answer.ok) throw new Remote(told.code, answer.status);
    return told;
  };
  return {
    claim: async (signed) => fromHex((await post("/v1/claims", signed)).answer!),
    finish: async (finish) => void (await post("/v1/claims/finish", finish)),
  };
}

function reported(report: AuditReport): object {
  return {
    complete: report.complete,
    findings: report.findings,
    on_chain: report.entriesOnChain,
    reads: report.reads.map((read) => ({
      name: read.name,
      purpose: read.purpose,
      records: read.records.length,
      nodes: read.nodes,
    })),
    own_reads: report.ownReads.length,
  };
}

function hexOf<T>(shape: Parameters<typeof encodeAs<T>>[0], value: T): string {
  return toHex(encodeAs(shape, value));
}

function held(): Device {
  if (device === null) throw new Error("begin first");
  return device;
}

await answerLines(acts);
