// An organisation's gateway as its staff call it (docs/gateway.md). The token is in memory and in these requests' header, nowhere else.

import { type Bytes, fromHex, Refused } from "../../sdk/src/index.ts";
import type { ReadableRecord } from "../fhir/entries.ts";
import { base64 } from "../fhir/notes.ts";
import type { Json } from "../fhir/json.ts";
import { asked, askedLines } from "../network/portal.ts";

export interface StaffMember {
  readonly name: string;
  readonly credential_id: string;
  readonly powers: readonly string[];
}

export interface Person {
  readonly patient_id: string;
  readonly label: string;
  /** The organisation keeps this person's keys for them. */
  readonly custodial: boolean;
  readonly compartment_id: string;
  /** Records written here. */
  readonly records: number;
}

interface Terms {
  readonly credential_id: string;
  readonly patient_id: string;
  readonly purpose: string;
  readonly date_from: string;
  readonly date_to: string;
}

export interface HeldGrant extends Terms {
  readonly grant_id: string;
  readonly compartment_id: string;
  readonly not_before_ms: number;
  readonly expires_at_ms: number;
  readonly revoked: boolean;
}

export interface MadeRequest extends Terms {
  readonly request: string;
  readonly lasts_days: number;
  readonly reason: string;
  readonly asked_at_ms: number;
  /** "" until a grant answers it. */
  readonly grant_id: string;
}

/** `patient_id` is "" for somebody who is not enrolled. */
export type Ask = Terms & Pick<MadeRequest, "lasts_days" | "reason">;

/** A sealed note before it is signed. */
export interface Draft {
  /** SHA-256 of `message`. */
  readonly note_id: string;
  /** The bytes that will be signed. */
  readonly message: string;
  /** Record that holds the version before. */
  readonly amends: string | null;
}

export type NoteEvent =
  | { readonly event: "signed"; readonly record_id: string; readonly signature: string }
  | { readonly event: "final"; readonly record_id: string; readonly height: number }
  | { readonly event: "failed"; readonly code: string; readonly status: number };

export interface Reading {
  readonly records: readonly ReadableRecord[];
  /** How many could not be opened. */
  readonly refused: number;
}

interface ReadAnswer {
  readonly records: readonly {
    readonly record_id: string;
    readonly date: string;
    readonly author: string;
    readonly author_key: string;
    readonly org_id: string;
    readonly amends: readonly string[];
    readonly items: readonly { readonly name: string; readonly media_type: string; readonly content: string }[];
  }[];
  readonly refused: Readonly<Record<string, string>>;
}

export class Gateway {
  readonly url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: string, token: string) {
    this.url = url;
    const given = token.trim();
    if (!/^[!-~]+$/.test(given)) throw new Refused("gateway.unauthorised"); // no header can carry it, so no gateway knows it
    this.#headers = { authorization: `Bearer ${given}`, "content-type": "application/json" };
  }

  staff(): Promise<readonly StaffMember[]> {
    return this.#get("/v1/staff");
  }

  people(): Promise<readonly Person[]> {
    return this.#get("/v1/patients");
  }

  grants(): Promise<readonly HeldGrant[]> {
    return this.#get("/v1/grants");
  }

  requests(): Promise<readonly MadeRequest[]> {
    return this.#get("/v1/access-requests");
  }

  /** The patient's id here. */
  async enrol(patient: Json, token: string): Promise<string> {
    return (await this.#post<{ patient_id: string }>("/v1/patients", { patient, token })).patient_id;
  }

  /** The request in hex. */
  async ask(wished: Ask): Promise<string> {
    return (await this.#post<{ request: string }>("/v1/access-requests", wished)).request;
  }

  /** Opens everything a grant covers; each call stands in the owner's log. */
  async read(grantId: string, reason: string): Promise<Reading> {
    const { records, refused } = await this.#post<ReadAnswer>(`/v1/grants/${grantId}/read`, { reason, records: [] });
    return { records: records.map(recordOf), refused: Object.keys(refused).length };
  }

  draft(credentialId: string, patientId: string, content: Bytes): Promise<Draft> {
    return this.#post("/v1/notes", { credential_id: credentialId, patient_id: patientId, content: base64(content) });
  }

  sign(noteId: string, told: (event: NoteEvent) => void): Promise<void> {
    return askedLines(`${this.url}/v1/notes/${noteId}/sign`, this.#sending({}), (event) => told(event as NoteEvent));
  }

  #get<T>(path: string): Promise<T> {
    return asked(this.url + path, { headers: this.#headers }) as Promise<T>;
  }

  #post<T>(path: string, body: object): Promise<T> {
    return asked(this.url + path, this.#sending(body)) as Promise<T>;
  }

  #sending(body: object): RequestInit {
    return { method: "POST", headers: this.#headers, body: JSON.stringify(body) };
  }
}

function recordOf(told: ReadAnswer["records"][number]): ReadableRecord {
  const body = { name: told.author, orgId: fromHex(told.org_id), personKey: fromHex(told.author_key) };
  const items = told.items.map(({ name, media_type, content }) => ({
    name,
    mediaType: media_type,
    content: Uint8Array.from(atob(content), (character) => character.charCodeAt(0)),
  }));
  return {
    recordId: fromHex(told.record_id),
    date: told.date,
    author: { body },
    manifest: { items, parents: told.amends.map(fromHex) },
  };
}
