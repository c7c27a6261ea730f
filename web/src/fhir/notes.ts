// What a clinician writes by hand: a FHIR R4 DocumentReference with its text inside. The bytes made here are the ones that are sealed.

import { type Bytes, utf8 } from "../../sdk/src/index.ts";
import { at, bytesOf, isObject, type Json, textAt } from "./json.ts";

/** Kinds of notes with their LOINC document types; the words are `note.kind.*`. */
export const NOTE_KINDS = { progress: "11506-3", consult: "11488-4", discharge: "18842-5", plan: "18776-5" } as const;
export type NoteKind = keyof typeof NOTE_KINDS;

const LOINC = "http://loinc.org";
/** How a note names its patient; the gateway takes no other way. */
const COMPARTMENT = "urn:hce:compartment";
const CREDENTIAL = "urn:hce:credential";
const PLAIN_TEXT = "text/plain; charset=utf-8";
export const MAX_NOTE_CHARS = 20_000;

export interface Note {
  /** Of the resource: later versions keep it. */
  readonly id: string;
  readonly kind: NoteKind;
  /** The kind in the author's language, as readers will see it. */
  readonly title: string;
  readonly text: string;
}

export interface Written {
  readonly note: Note;
  /** Of the patient. */
  readonly compartmentId: string;
  readonly patient: string;
  readonly credentialId: string;
  readonly author: string;
  readonly nowMs: number;
  /** Whether it replaces an earlier version. */
  readonly corrects: boolean;
}

/** The resource's bytes. */
export function noteBytes({ note, compartmentId, patient, credentialId, author, nowMs, corrects }: Written): Bytes {
  return utf8(
    JSON.stringify({
      resourceType: "DocumentReference",
      id: note.id,
      status: "current",
      docStatus: corrects ? "amended" : "final",
      type: { coding: [{ system: LOINC, code: NOTE_KINDS[note.kind] }], text: note.title },
      subject: { identifier: { system: COMPARTMENT, value: compartmentId }, display: patient },
      date: localInstant(nowMs),
      author: [{ identifier: { system: CREDENTIAL, value: credentialId }, display: author }],
      content: [{ attachment: { contentType: PLAIN_TEXT, data: base64(utf8(note.text)), title: note.title } }],
    }),
  );
}

/** With this device's offset, so that its day is the one on the wall. */
function localInstant(nowMs: number): string {
  const minutes = -new Date(nowMs).getTimezoneOffset();
  const local = new Date(nowMs + minutes * 60_000).toISOString().slice(0, 19);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60].map((part) => String(part).padStart(2, "0"));
  return `${local}${minutes < 0 ? "-" : "+"}${hours}:${rest}`;
}

/** A note that was written here before; null for anything else. */
export function readNote(resource: Json | null): Note | null {
  const code = textAt(resource, "type.coding.code");
  const kind = (Object.keys(NOTE_KINDS) as NoteKind[]).find((one) => NOTE_KINDS[one] === code);
  const [attachment] = at(resource, "content.attachment");
  if (kind === undefined || !isObject(attachment) || textAt(attachment, "contentType") !== PLAIN_TEXT) return null;
  const raw = bytesOf(textAt(attachment, "data"));
  if (raw === null) return null;
  return { id: textAt(resource, "id"), kind, title: textAt(resource, "type.text"), text: new TextDecoder().decode(raw) };
}

/** In steps, since a call takes only so many arguments. */
export function base64(content: Bytes): string {
  let text = "";
  for (let start = 0; start < content.length; start += 4_096)
    text += String.fromCharCode(...content.subarray(start, start + 4_096));
  return btoa(text);
}

/** A resource for somebody who is enrolled: what a person said of themselves at the desk. */
export function personResource(id: string, name: string, birthDate: string): Json {
  return { resourceType: "Patient", id, name: [{ text: name }], birthDate };
}
