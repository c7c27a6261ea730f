// What Python made, done by the SDK, and back: `tests/web/test_sdk_and_python.py` asks. Bytes are hex; structs are their DAG-CBOR.

import { type Bytes, fromHex, toHex } from "../../src/bytes.ts";
import { decode, encode } from "../../src/codec/dagcbor.ts";
import { decodeAs, encodeAs } from "../../src/codec/shape.ts";
import { HceError } from "../../src/errors.ts";
import { explain } from "../../src/human/explain.ts";
import { sentence } from "../../src/human/sentence.ts";
import { OpeningKey } from "../../src/keys/seal.ts";
import { SecretBytes } from "../../src/keys/secret.ts";
import { SigningKey, verify } from "../../src/keys/sign.ts";
import type { Language } from "../../src/keys/words.ts";
import { KeyholderStateShape } from "../../src/terms/chain.ts";
import { type ReleaseReply, ReleaseRequestShape, SignedCardShape } from "../../src/terms/grants.ts";
import { RecordEntryShape } from "../../src/terms/payloads.ts";
import { EnvelopeShape } from "../../src/terms/records.ts";
import { RecordStateShape } from "../../src/terms/states.ts";
import {
  combineRelease,
  makeAccess,
  makeReleaseRequest,
  openParcel,
  openReleaseReply,
  type PreparedAccess,
} from "../../src/vault/granting.ts";
import { checkCiphertext, checkRecord, openRecord, readSession } from "../../src/vault/opening.ts";
import { AuthoringSession, makeBatch } from "../../src/vault/sealing.ts";
import { drawn } from "../vectors.ts";
import { answerLines } from "./lines.ts";

interface Given {
  readonly [name: string]: string;
}
interface SealGiven {
  readonly org_id: string;
  readonly credential_id: string;
  readonly author_seed: string;
  readonly card: string;
  readonly keyholders: string;
  readonly contents: readonly string[];
  readonly nodes: number;
}
interface ReadGiven extends Given {
  readonly parcel: string;
}
interface OpenGiven {
  readonly read: ReadGiven;
  readonly replies: readonly (readonly [number, string])[];
}

const acts = {
  verdicts: ({ raws }: { raws: readonly string[] }) => raws.map((raw) => verdict(fromHex(raw))),
  verified: ({ cases }: { cases: readonly (readonly [string, string, string])[] }) =>
    cases.map(([key, message, signature]) => verify(fromHex(key), fromHex(message), fromHex(signature))),
  sentences: ({ messages }: { messages: readonly (readonly [string, Language, string | null])[] }) =>
    messages.map(([message, language, name]) => sentence(explain(fromHex(message)), language, () => name)),
  seal,
  ask: async (given: ReadGiven) => {
    const { prepared, request } = await asked(given);
    return { entry_id: toHex(prepared.entryId), commitment: toHex(prepared.commitment), request: toHex(request) };
  },
  open,
};

async function seal(given: SealGiven): Promise<object> {
  const { card } = decodeAs(SignedCardShape, fromHex(given.card));
  const session = await AuthoringSession.begin({
    chain: card.chain,
    orgId: fromHex(given.org_id),
    credentialId: fromHex(given.credential_id),
    authorKey: await keyOf(given.author_seed),
    card,
    keyholders: decodeAs(KeyholderStateShape, fromHex(given.keyholders)),
  });
  for (const content of given.contents) {
    const items = [{ name: "Observation/文", mediaType: "application/fhir+json", content: fromHex(content) }];
    await session.seal({ items, kind: "lab", date: "2024-02-29", createdMs: 1_760_000_000_000 });
  }
  const batch = await makeBatch([session], given.nodes);
  return {
    session_entry: toHex(batch.feedWrites[0]!.sessionEntry),
    placement: toHex(batch.placement),
    shards: Array.from({ length: given.nodes }, (_, node) => batch.shardsOf(node).map(toHex)),
    records: batch.records.map((record) => ({
      record_id: toHex(record.recordId),
      entry: toHex(encodeAs(RecordEntryShape, record.entry)),
      envelope: toHex(encodeAs(EnvelopeShape, record.envelope)),
      owner_wrap: toHex(record.ownerWrap),
      ciphertext: toHex(record.ciphertext),
    })),
  };
}

async function asked(
  given: ReadGiven,
): Promise<{ prepared: PreparedAccess; request: Bytes; opened: Awaited<ReturnType<typeof session>> }> {
  const opened = await session(given);
  const { body, ownerSignature } = opened.parcel;
  const random = drawn(fromHex(given["salt"]!), fromHex(given["response_seed"]!));
  const records = opened.read.openings.map(({ recordId }) => recordId);
  const prepared = makeAccess(body, fromHex(given["credential_id"]!), records, "ward round", random);
  const envelope = decodeAs(EnvelopeShape, fromHex(given["envelope"]!));
  const wanted = opened.read.openings.map((one) => ({ ...one, envelope }));
  const request = await makeReleaseRequest(prepared, body, ownerSignature, wanted, await keyOf(given["credential_seed"]!));
  return { prepared, request: encodeAs(ReleaseRequestShape, request), opened };
}

async function session(given: ReadGiven) {
  const inbox = new OpeningKey(new SecretBytes(fromHex(given["inbox_seed"]!)));
  const chain = fromHex(given["chain"]!);
  const parcel = await openParcel(inbox, fromHex(given.parcel), chain, [fromHex(given["reader_key"]!)]);
  const [{ readingEpoch, readingSeed }] = parcel.epochKeys as [(typeof parcel.epochKeys)[number]];
  const reading = new OpeningKey(new SecretBytes(readingSeed));
  const read = await readSession(reading, fromHex(given["session_entry"]!), chain, parcel.body.compartmentId, readingEpoch);
  return { parcel, read };
}

async function open({ read: given, replies }: OpenGiven): Promise<object> {
  const { prepared, opened } = await asked(given);
  const chain = fromHex(given["chain"]!);
  const keyholders = decodeAs(KeyholderStateShape, fromHex(given["keyholders"]!));
  const state = decodeAs(RecordStateShape, fromHex(given["state"]!));
  const envelope = decodeAs(EnvelopeShape, fromHex(given["envelope"]!));
  const [{ recordId, opening }] = opened.read.openings as [(typeof opened.read.openings)[number]];
  const header = checkRecord(chain, keyholders.keyId, recordId, state, opening, envelope);
  const open: ReleaseReply[] = [];
  for (const [node, sealed] of replies) open.push(await openReleaseReply(prepared, chain, fromHex(sealed), node));
  const locked = [{ header, envelope, session: opened.read, keyCommitment: state.keyCommitment }];
  const { deks, failed, lying } = await combineRelease(open, locked, keyholders, prepared);
  const error = failed.get(toHex(recordId));
  if (error !== undefined) throw error;
  const ciphertext = fromHex(given["ciphertext"]!);
  checkCiphertext(header, opening, ciphertext);
  const manifest = await openRecord(deks.get(toHex(recordId))!, ciphertext, header, state.keyCommitment);
  return { content: toHex(manifest.items[0]!.content), lying };
}

/** The value's bytes again when it was taken. */
function verdict(raw: Bytes): string | null {
  try {
    return toHex(encode(decode(raw)));
  } catch (error) {
    if (error instanceof HceError) return null;
    throw error;
  }
}

function keyOf(seed: string): Promise<SigningKey> {
  return SigningKey.fromSeed(new SecretBytes(fromHex(seed)));
}

await answerLines(acts as Record<string, (given: never) => unknown>);
