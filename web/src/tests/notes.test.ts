// Notes as a clinician writes them: FHIR bytes that say what was meant, and read again as they were written.

import assert from "node:assert/strict";
import { test } from "node:test";
import { entriesOf } from "../fhir/entries.ts";
import { type Note, noteBytes, readNote, type Written } from "../fhir/notes.ts";
import { leftWords, today } from "../words/dates.ts";

const NOTE: Note = { id: "b7c1", kind: "progress", title: "病程记录", text: "血压 152/94。\n\nTaking “metformin”, 500 mg.\t✓" };
const WRITTEN: Written = {
  note: NOTE,
  compartmentId: "ab".repeat(32),
  patient: "甄示范",
  credentialId: "cd".repeat(32),
  author: "Dr. Lin Mei 林梅",
  nowMs: Date.UTC(2026, 0, 15, 12),
  corrects: false,
};
const resourceOf = (bytes: Uint8Array): Record<string, unknown> =>
  JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;

test("a note reads again as it was written", () => {
  assert.deepEqual(readNote(resourceOf(noteBytes(WRITTEN))), NOTE);
  const long = { ...NOTE, text: "长".repeat(20_000) };
  assert.deepEqual(readNote(resourceOf(noteBytes({ ...WRITTEN, note: long }))), long);
});

test("it names its patient as the gateway asks, and is of the day on the wall", () => {
  const resource = resourceOf(noteBytes(WRITTEN));
  const subject = { identifier: { system: "urn:hce:compartment", value: WRITTEN.compartmentId }, display: "甄示范" };
  assert.deepEqual(resource["subject"], subject);
  assert.deepEqual(
    [resource["docStatus"], resourceOf(noteBytes({ ...WRITTEN, corrects: true }))["docStatus"]],
    ["final", "amended"],
  );
  assert.match(resource["date"] as string, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/);
  assert.equal((resource["date"] as string).slice(0, 10), today(WRITTEN.nowMs));
});

test("what somebody else's program wrote is no note to correct here", () => {
  const resource = resourceOf(noteBytes(WRITTEN));
  const attachment = { contentType: "text/plain; charset=utf-8", data: "§" };
  for (const odd of [
    null,
    {},
    { ...resource, type: { coding: [{ code: "1" }] } },
    { ...resource, content: [{ attachment: { ...attachment, contentType: "application/pdf" } }] },
    { ...resource, content: [{ attachment }] },
  ]) {
    assert.equal(readNote(odd), null);
  }
});

test("a reader sees the title, the text, and that an earlier version was replaced, but not on a stranger's word", () => {
  const record = (id: number, org: number, parents: readonly number[]) => ({
    recordId: new Uint8Array(32).fill(id),
    date: "2026-01-15",
    author: { body: { name: "Dr. A", orgId: new Uint8Array(32).fill(org), personKey: new Uint8Array(32) } },
    manifest: {
      items: [{ name: "DocumentReference/b7c1", mediaType: "application/fhir+json", content: noteBytes(WRITTEN) }],
      parents: parents.map((one) => new Uint8Array(32).fill(one)),
    },
  });
  const statuses = (...records: ReturnType<typeof record>[]): string[] => entriesOf(records).map(({ status }) => status);
  const [entry] = entriesOf([record(1, 1, [])]);
  assert.deepEqual(
    [entry!.kind, entry!.title, new TextDecoder().decode(entry!.attachments[0]!.content)],
    ["document", "病程记录", NOTE.text],
  );
  assert.deepEqual(statuses(record(1, 1, []), record(2, 1, [1])), ["replaced", ""]);
  assert.deepEqual(statuses(record(1, 1, []), record(2, 2, [1])), ["", ""]);
});

test("how long something lasts is said in whole units", () => {
  const hour = 3_600_000;
  assert.deepEqual(
    [7 * 24 * hour, 25 * hour, 2.9 * hour, 90_000, 5].map((ms) => leftWords(ms, "en")),
    ["in 7 days", "in 1 day", "in 3 hours", "in 2 minutes", "in 1 minute"],
  );
  assert.equal(leftWords(7 * 24 * hour - 5, "zh-CN"), "7天后");
});
