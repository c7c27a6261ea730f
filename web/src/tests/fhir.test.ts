// What resources look like to a person: words that somebody wrote, no codes, units once and as people write them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { entriesOf, type Entry, type ReadableRecord } from "../fhir/entries.ts";
import { currentOf, historyOf, within } from "../fhir/glance.ts";
import { rangeText, together } from "../fhir/measures.ts";

type Resource = Record<string, unknown>;

function record(date: string, ...resources: readonly Resource[]): ReadableRecord {
  const items = resources.map((resource, i) => ({
    name: `urn:uuid:${date}-${i}`,
    mediaType: "application/fhir+json",
    content: new TextEncoder().encode(JSON.stringify(resource)),
  }));
  const author = { body: { name: "Dr. A", orgId: new Uint8Array(32), personKey: new Uint8Array(32) } };
  return { recordId: new Uint8Array(32), date, manifest: { items, parents: [] }, author };
}

function only(...resources: readonly Resource[]): Entry {
  const [entry, ...others] = entriesOf([record("2024-05-06", ...resources)]);
  assert.equal(others.length, 0);
  return entry!;
}

const lab = (value: number, more: Resource = {}): Resource => ({
  resourceType: "Observation",
  category: [{ coding: [{ code: "laboratory" }] }],
  code: { text: "Glucose", coding: [{ code: "2345-7", display: "Glucose [Mass/volume]" }] },
  valueQuantity: { value, unit: "mg/dL" },
  referenceRange: [{ low: { value: 70 }, high: { value: 100 } }],
  ...more,
});

test("a result says its value once, with its unit, and where it stands", () => {
  const { title, kind, measures } = only(lab(92));
  assert.deepEqual([title, kind, together(measures), measures[0]!.standing], ["Glucose", "lab", "92\u00a0mg/dL", "usual"]);
  assert.equal(rangeText(measures[0]!), "70–100\u00a0mg/dL");
  assert.equal(only(lab(120)).measures[0]!.standing, "high");
  assert.equal(only(lab(60)).measures[0]!.standing, "low");
});

test("what the laboratory said counts more than the range", () => {
  const said = { interpretation: [{ coding: [{ code: "N" }] }] };
  assert.equal(only(lab(101, said)).measures[0]!.standing, "usual");
  const none = only(lab(92, { referenceRange: [] }));
  assert.equal(none.measures[0]!.standing, "unclear");
});

test("units are written as people write them", () => {
  const unitOf = (unit: string): string => together(only(lab(5, { valueQuantity: { value: 5, unit } })).measures);
  assert.deepEqual(["10*3/uL", "mm[Hg]", "{score}", "Cel", "ug/L", "umol/L", "mg/dL{calc}"].map(unitOf), [
    "5\u00a010³/µL",
    "5\u00a0mmHg",
    "5",
    "5\u00a0°C",
    "5\u00a0µg/L",
    "5\u00a0µmol/L",
    "5\u00a0mg/dL",
  ]);
});

test("a blood pressure is one line, upper value first", () => {
  const component = (code: string, text: string, value: number): Resource => ({
    code: { text, coding: [{ code }] },
    valueQuantity: { value, unit: "mm[Hg]" },
  });
  const parts = [component("8462-4", "Diastolic", 94), component("8480-6", "Systolic", 152)];
  const { measures } = only({ resourceType: "Observation", code: { text: "Blood pressure" }, component: parts });
  assert.equal(together(measures), "152 / 94\u00a0mmHg");
});

test("codes are never titles, and nothing is called unknown", () => {
  const bare = only({ resourceType: "Procedure", code: { coding: [{ system: "http://snomed.info/sct", code: "430193006" }] } });
  assert.deepEqual([bare.title, bare.kind], ["", "procedure"]);
  const tagged = only({ resourceType: "Procedure", code: { coding: [{ display: "Medication reconciliation (procedure)" }] } });
  assert.equal(tagged.title, "Medication reconciliation");
  assert.equal(only({ resourceType: "Basic" }).kind, "other");
  const loinc = { text: "Erythrocytes [#/volume] in Blood by Automated count" };
  assert.equal(only({ resourceType: "Observation", code: loinc }).title, "Erythrocytes in Blood");
});

test("a prescription that only refers to its medicine has the medicine's name, and the medicine is no second entry", () => {
  const medicine = { resourceType: "Medication", id: "m1", code: { text: "Iron tablets" } };
  const order = { resourceType: "MedicationRequest", medicationReference: { reference: "urn:uuid:m1" }, status: "stopped" };
  const entry = only(medicine, order);
  assert.deepEqual([entry.title, entry.status], ["Iron tablets", "stopped"]);
});

test("broken bytes are shown as the file they are, and hide nothing else", () => {
  const whole = record("2024-05-06", lab(92));
  const broken = { name: "scan.json", mediaType: "application/fhir+json", content: Uint8Array.of(0xff) };
  const both = { ...whole, manifest: { ...whole.manifest, items: [...whole.manifest.items, broken] } };
  assert.deepEqual(
    entriesOf([both]).map(({ kind }) => kind),
    ["lab", "document"],
  );
});

test("papers come out of a document with their bytes", () => {
  const attachment = { contentType: "text/plain", title: "Letter", data: btoa("Dear you") };
  const { kind, title, attachments } = only({
    resourceType: "DocumentReference",
    type: { text: "Letter" },
    content: [{ attachment }],
  });
  assert.deepEqual([kind, title, attachments.map(({ name }) => name)], ["document", "Letter", ["Letter"]]);
  assert.equal(new TextDecoder().decode(attachments[0]!.content), "Dear you");
});

test("what matters now leaves out what is over", () => {
  const condition = (text: string, clinical: string): Resource => ({
    resourceType: "Condition",
    code: { text },
    clinicalStatus: { coding: [{ code: clinical }] },
  });
  const entries = entriesOf([
    record("2020-01-01", condition("Asthma", "active")),
    record("2021-01-01", condition("Flu", "resolved"), condition("Asthma", "active")),
  ]);
  assert.deepEqual(
    currentOf(entries, "condition").map(({ title, date }) => `${title} ${date}`),
    ["Asthma 2021-01-01"],
  );
});

test("history is of one thing in one unit, newest first; a grant's days are inclusive", () => {
  const other = lab(5.1, { valueQuantity: { value: 5.1, unit: "mmol/L" } });
  const entries = entriesOf([record("2020-01-01", lab(80)), record("2022-01-01", lab(90)), record("2021-01-01", other)]);
  const [newest] = entries;
  assert.deepEqual(
    historyOf(entries, newest!.measures[0]!).map(({ date }) => date),
    ["2022-01-01", "2020-01-01"],
  );
  assert.equal(within(entries, "2020-01-01", "2021-01-01").length, 2);
});
