// From opened records to what a person sees: one entry for each resource, in words that somebody wrote. Codes are never shown.
//
// A title is what the author wrote, else the word for its kind: nothing is ever called "Unknown".

import { type Bytes, type ContentItem, toHex } from "../../sdk/src/index.ts";
import { at, bytesOf, isObject, type Json, numberAt, textAt, wordsAt } from "./json.ts";
import { type Measure, measuresOf } from "./measures.ts";

/** What people look for; the words for each are `kind.*`. */
export type EntryKind =
  | "lab"
  | "vital"
  | "finding"
  | "report"
  | "condition"
  | "allergy"
  | "medicine"
  | "vaccine"
  | "procedure"
  | "visit"
  | "imaging"
  | "document"
  | "plan"
  | "bill"
  | "person"
  | "other";

/** A line beside the title: `key` names its words, `fact.*`. */
export interface Fact {
  readonly key: string;
  readonly text: string;
}

export interface Attachment {
  readonly name: string;
  readonly mediaType: string;
  readonly content: Uint8Array<ArrayBuffer>;
}

/** A record that was opened, whoever opened it. */
export interface ReadableRecord {
  readonly recordId: Bytes;
  readonly date: string;
  readonly author: { readonly body: { readonly name: string; readonly orgId: Bytes; readonly personKey: Bytes } };
  readonly manifest: { readonly items: readonly ContentItem[]; readonly parents: readonly Bytes[] };
}

export interface Entry {
  /** Of record and item: tells two entries apart. */
  readonly id: string;
  readonly recordId: string;
  /** Of the item in its record: later versions have the same. */
  readonly name: string;
  readonly kind: EntryKind;
  /** "" where nobody wrote one: the kind's word stands for it. */
  readonly title: string;
  /** YYYY-MM-DD. */
  readonly date: string;
  readonly author: string;
  /** The public key that signed. */
  readonly authorKey: string;
  readonly orgId: string;
  readonly facts: readonly Fact[];
  readonly measures: readonly Measure[];
  /** Ids of resources a report gathers. */
  readonly results: readonly string[];
  readonly resourceId: string;
  readonly attachments: readonly Attachment[];
  /** Ended, entered in error, not done, replaced by a later version: said beside the title; the words are `status.*`. */
  readonly status: string;
}

const FHIR_JSON = "application/fhir+json";
const KINDS: Readonly<Record<string, EntryKind>> = {
  DiagnosticReport: "report",
  Condition: "condition",
  AllergyIntolerance: "allergy",
  MedicationRequest: "medicine",
  MedicationStatement: "medicine",
  MedicationAdministration: "medicine",
  MedicationDispense: "medicine",
  Medication: "medicine",
  Immunization: "vaccine",
  Procedure: "procedure",
  Encounter: "visit",
  ImagingStudy: "imaging",
  DocumentReference: "document",
  Composition: "document",
  CarePlan: "plan",
  CareTeam: "plan",
  Goal: "plan",
  ServiceRequest: "plan",
  Claim: "bill",
  ExplanationOfBenefit: "bill",
  Patient: "person",
};
const TITLES = [
  "code",
  "vaccineCode",
  "medicationCodeableConcept",
  "medicationReference",
  "description",
  "title",
  "type",
  "procedureCode",
  "item.productOrService",
  "serviceType",
  "category",
  "class",
  "series.bodySite",
];
/** Statuses worth a word; all others mean that nothing is special. */
const STATUSES = new Set([
  "entered-in-error",
  "not-done",
  "stopped",
  "cancelled",
  "resolved",
  "inactive",
  "remission",
  "preliminary",
]);
/** Types that only serve the others. */
const SILENT = new Set(["Provenance"]);

/** Within a day: what happened, what was found, what was done about it. */
const ORDER: readonly EntryKind[] = [
  "visit",
  "condition",
  "allergy",
  "report",
  "lab",
  "vital",
  "finding",
  "imaging",
  "procedure",
  "medicine",
  "vaccine",
  "plan",
  "document",
  "bill",
  "person",
  "other",
];

/** Everything in the records, newest first. */
export function entriesOf(records: readonly ReadableRecord[]): readonly Entry[] {
  const named = medicinesOf(records);
  const replaced = replacedIn(records);
  const entries = records
    .flatMap((record) => record.manifest.items.flatMap((item) => entryOf(record, item, named)))
    .map((entry) => (replaced.has(entry.id) ? { ...entry, status: "replaced" } : entry));
  const order = (a: Entry, b: Entry): number => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || a.title.localeCompare(b.title);
  return entries.sort((a, b) => b.date.localeCompare(a.date) || order(a, b) || a.id.localeCompare(b.id));
}

/** Ids of entries that their own organisation has written a later version of. Another's word changes nothing. */
function replacedIn(records: readonly ReadableRecord[]): ReadonlySet<string> {
  const organisations = new Map(records.map(({ recordId, author }) => [toHex(recordId), toHex(author.body.orgId)]));
  return new Set(
    records.flatMap(({ author, manifest }) =>
      manifest.parents
        .map(toHex)
        .filter((parent) => organisations.get(parent) === toHex(author.body.orgId))
        .flatMap((parent) => manifest.items.map(({ name }) => `${parent} ${name}`)),
    ),
  );
}

function entryOf(record: ReadableRecord, item: ContentItem, medicines: ReadonlyMap<string, string>): readonly Entry[] {
  const resource = item.mediaType === FHIR_JSON ? resourceOf(item) : null;
  const type = textAt(resource, "resourceType");
  if (SILENT.has(type) || (type === "Medication" && medicines.size > 0)) return [];
  const common = {
    id: `${toHex(record.recordId)} ${item.name}`,
    recordId: toHex(record.recordId),
    name: item.name,
    author: record.author.body.name,
    authorKey: toHex(record.author.body.personKey),
    orgId: toHex(record.author.body.orgId),
  };
  if (resource === null) {
    const attachments = [{ name: item.name, mediaType: item.mediaType, content: item.content }];
    const bare = { facts: [], measures: [], results: [], resourceId: "", status: "" };
    return [{ ...common, ...bare, kind: "document", title: item.name, date: record.date, attachments }];
  }
  const title = titleOf(resource, medicines);
  const kind = kindOf(resource, type);
  return [
    {
      ...common,
      kind,
      title,
      date: record.date,
      facts: factsOf(resource, kind),
      measures: type === "Observation" ? measuresOf(resource, title) : [],
      results: at(resource, "result.reference").flatMap((one) => (typeof one === "string" ? [idIn(one)] : [])),
      resourceId: textAt(resource, "id"),
      attachments: attachmentsOf(resource, title),
      status: statusOf(resource),
    },
  ];
}

export function resourceOf(item: ContentItem): Json | null {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(item.content));
    return isObject(value) ? value : null;
  } catch {
    return null; // what is no JSON is shown as the file it is
  }
}

function kindOf(resource: Json, type: string): EntryKind {
  if (type !== "Observation") return KINDS[type] ?? "other";
  const categories = at(resource, "category.coding.code");
  if (categories.includes("laboratory")) return "lab";
  return categories.includes("vital-signs") ? "vital" : "finding";
}

function titleOf(resource: Json, medicines: ReadonlyMap<string, string>): string {
  if (textAt(resource, "resourceType") === "Patient") return personName(resource);
  const referred = medicines.get(idIn(textAt(resource, "medicationReference.reference")));
  return referred ?? wordsAt(resource, ...TITLES);
}

function personName(resource: Json): string {
  const [name] = at(resource, "name");
  return textAt(name, "text") || [...at(name, "given"), ...at(name, "family")].filter((part) => typeof part === "string").join(" ");
}

/** id -> words of medicines that prescriptions only refer to. */
function medicinesOf(records: readonly ReadableRecord[]): ReadonlyMap<string, string> {
  const named = new Map<string, string>();
  for (const item of records.flatMap(({ manifest }) => manifest.items)) {
    const resource = item.mediaType === FHIR_JSON ? resourceOf(item) : null;
    if (resource !== null && resource["resourceType"] === "Medication")
      named.set(textAt(resource, "id"), wordsAt(resource, "code"));
  }
  return named;
}

function factsOf(resource: Json, kind: EntryKind): readonly Fact[] {
  const facts: (readonly [string, string])[] = [
    [
      "dosage",
      at(resource, "dosageInstruction")
        .map((one) => textAt(one, "text"))
        .filter(Boolean)
        .join("; "),
    ],
    ["reason", wordsAt(resource, "reasonCode", "reasonReference")],
    [
      "reaction",
      at(resource, "reaction.manifestation")
        .map((one) => wordsAt(one, "text", "coding.display"))
        .filter(Boolean)
        .join(", "),
    ],
    ["severity", kind === "condition" ? wordsAt(resource, "severity") : ""],
    ["conclusion", textAt(resource, "conclusion")],
    ["note", textAt(resource, "note.text")],
    ["place", wordsAt(resource, "bodySite")],
    ["lot", textAt(resource, "lotNumber")],
    [
      "activity",
      at(resource, "activity.detail")
        .map((one) => textAt(one, "description"))
        .filter(Boolean)
        .join("; "),
    ],
    ["coverage", textAt(resource, "insurance.coverage.display")],
    ["sum", sumOf(resource)],
    ["born", kind === "person" ? textAt(resource, "birthDate") : ""],
    ["address", kind === "person" ? addressOf(resource) : ""],
  ];
  return facts.filter(([, text]) => text !== "").map(([key, text]) => ({ key, text }));
}

function sumOf(resource: Json): string {
  const [total] = at(resource, "total").filter((one) => numberAt(one, "value") !== null);
  return total === undefined ? "" : `${numberAt(total, "value")} ${textAt(total, "currency")}`.trim();
}

function addressOf(resource: Json): string {
  const [address] = at(resource, "address");
  const lines = [...at(address, "line"), ...at(address, "city"), ...at(address, "country")];
  return textAt(address, "text") || lines.filter((part) => typeof part === "string").join(", ");
}

function statusOf(resource: Json): string {
  const verification = textAt(resource, "verificationStatus.coding.code");
  const found = [verification, textAt(resource, "clinicalStatus.coding.code"), textAt(resource, "status")];
  return found.find((one) => STATUSES.has(one)) ?? "";
}

function attachmentsOf(resource: Json, title: string): readonly Attachment[] {
  const found = [...at(resource, "content.attachment"), ...at(resource, "presentedForm")];
  return found.flatMap((one) => {
    const content = bytesOf(textAt(one, "data"));
    const mediaType = textAt(one, "contentType") || "application/octet-stream";
    return content === null ? [] : [{ name: textAt(one, "title") || title || "document", mediaType, content }];
  });
}

/** "urn:uuid:X", "Observation/X" and "https://…/Observation/X" all name X. */
function idIn(reference: string): string {
  return /[^/:]*$/u.exec(reference)?.[0] ?? "";
}
