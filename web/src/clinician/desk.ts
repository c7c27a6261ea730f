// A clinician at work: who they are by the final chain, their gateway, and what they have opened. Ends when the page is left or locked.
//
// Their signing key is in their organisation's gateway; no key is here. What the chain can prove is asked of the nodes, not of the gateway.

import {
  type Bytes,
  explain,
  fromHex,
  type Network,
  PeerFault,
  Refused,
  Remote,
  stateKey,
  toHex,
  verify,
} from "../../sdk/src/index.ts";
import { sha256 } from "../../sdk/src/codec/cid.ts";
import { policyCommitment } from "../../sdk/src/terms/records.ts";
import type { SignedRecord } from "../../sdk/src/human/explain.ts";
import { entriesOf, type Entry, resourceOf } from "../fhir/entries.ts";
import { type Note, readNote } from "../fhir/notes.ts";
import type { Portal } from "../network/portal.ts";
import type { Draft, Gateway, HeldGrant, MadeRequest, Person, Reading } from "./gateway.ts";

/** Who signs, as the chain names them. */
export interface Me {
  readonly credentialId: string;
  readonly name: string;
  readonly personKey: Bytes;
  readonly powers: readonly string[];
}

/** What one reading opened. */
export interface Chart {
  readonly grant: HeldGrant;
  readonly reading: Reading;
  readonly entries: readonly Entry[];
  readonly readAtMs: number;
}

/** Everything the worklist says of one person. */
export interface Case {
  /** Of somebody who is not enrolled: the compartment's id, and a name only once their record was opened. */
  readonly person: Person;
  readonly enrolled: boolean;
  /** Granted to this clinician, newest first. */
  readonly grants: readonly HeldGrant[];
  /** Made by this clinician and not answered, newest first. */
  readonly requests: readonly MadeRequest[];
}

export interface Cases {
  readonly cases: readonly Case[];
  /** Open requests that name nobody who is enrolled. */
  readonly elsewhere: readonly MadeRequest[];
}

/** A draft with what its bytes say. */
export interface Shown {
  readonly draft: Draft;
  readonly message: Bytes;
  readonly signs: SignedRecord;
}

/** What this device has checked itself after a note was signed. */
export interface Receipt {
  readonly recordId: string;
  readonly height: number;
  readonly timeMs: number;
}

export class Desk {
  readonly portal: Portal;
  readonly network: Network;
  readonly gateway: Gateway;
  readonly me: Me;
  readonly orgId: string;
  readonly organisation: string;
  /** Notes that were begun and not signed, each for a person and the record it corrects. Leaving a screen loses none. */
  readonly begun = new Map<string, Note>();
  readonly #charts = new Map<string, Chart>();

  private constructor(portal: Portal, network: Network, gateway: Gateway, me: Me, orgId: string, organisation: string) {
    this.portal = portal;
    this.network = network;
    this.gateway = gateway;
    this.me = me;
    this.orgId = orgId;
    this.organisation = organisation;
  }

  /** Name, key and powers come from the chain. `credential.not_certified` for a credential that does not stand there. */
  static async open(portal: Portal, network: Network, gateway: Gateway, credentialId: string): Promise<Desk> {
    const id = fromHex(credentialId);
    const state = (await network.reader(stateKey.credential(id))).credential(id);
    if (state === null || state.revokedHeight !== null) throw new Refused("credential.not_certified");
    const { name, personKey, powers, orgId } = state.body;
    const organisation = (await network.reader(stateKey.organisation(orgId))).organisation(orgId)?.certificate.name ?? "";
    return new Desk(portal, network, gateway, { credentialId, name, personKey, powers }, toHex(orgId), organisation);
  }

  async cases(): Promise<Cases> {
    const [people, grants, requests] = await Promise.all([this.gateway.people(), this.gateway.grants(), this.gateway.requests()]);
    const mine = ({ credential_id }: { readonly credential_id: string }): boolean => credential_id === this.me.credentialId;
    const held = [...grants].reverse().filter(mine);
    const open = requests.filter((one) => mine(one) && one.grant_id === "");
    const known = new Set(people.map(({ compartment_id }) => compartment_id));
    const others = new Set(held.map(({ compartment_id }) => compartment_id).filter((one) => !known.has(one)));
    const caseFor = (person: Person, enrolled: boolean): Case => ({
      person,
      enrolled,
      grants: held.filter(({ compartment_id }) => compartment_id === person.compartment_id),
      requests: open.filter(({ patient_id }) => patient_id === person.patient_id),
    });
    const strangers = [...others].map((id) => this.#stranger(id));
    return {
      cases: [...strangers.map((one) => caseFor(one, false)), ...people.map((one) => caseFor(one, true))],
      elsewhere: open.filter(({ patient_id }) => people.every((person) => person.patient_id !== patient_id)),
    };
  }

  /** Somebody who gave access and is not enrolled: called as their own record calls them, once it was opened. */
  #stranger(compartmentId: string): Person {
    const charts = [...this.#charts.values()].filter(({ grant }) => grant.compartment_id === compartmentId);
    const label = charts.flatMap(({ entries }) => entries).find(({ kind }) => kind === "person")?.title ?? "";
    return { patient_id: compartmentId, label, custodial: false, compartment_id: compartmentId, records: 0 };
  }

  /** `patient.unknown`. */
  async caseOf(patientId: string): Promise<Case> {
    const found = (await this.cases()).cases.find(({ person }) => person.patient_id === patientId);
    if (found === undefined) throw new Refused("patient.unknown");
    return found;
  }

  /** What was opened under a grant since this clinician signed in. */
  opened(grantId: string): Chart | null {
    return this.#charts.get(grantId) ?? null;
  }

  /** Opens everything the grant covers. What was opened under it before is dropped, whether or not it opens again. */
  async open(grant: HeldGrant, reason: string): Promise<Chart> {
    this.#charts.delete(grant.grant_id);
    const reading = await this.gateway.read(grant.grant_id, reason);
    const chart = { grant, reading, entries: entriesOf(reading.records), readAtMs: this.network.now() };
    this.#charts.set(grant.grant_id, chart);
    return chart;
  }

  /** A note of this clinician that was opened, to write a later version of. */
  noteOf(recordId: string): Note | null {
    const records = [...this.#charts.values()].flatMap(({ reading }) => reading.records);
    const found = records.find((record) => toHex(record.recordId) === recordId);
    if (found === undefined || toHex(found.author.body.personKey) !== toHex(this.me.personKey)) return null;
    const [item] = found.manifest.items;
    return item === undefined ? null : readNote(resourceOf(item));
  }

  /** Has a note sealed, and reads what its author would sign. `note.other_bytes` when that is not what was asked for. */
  async draft(person: Person, content: Bytes, day: string, corrects: string | null): Promise<Shown> {
    const draft = await this.gateway.draft(this.me.credentialId, person.patient_id, content);
    if (draft.amends !== corrects) throw new Refused("note.overtaken");
    const message = fromHex(draft.message);
    const explained = explain(message);
    if (explained.what !== "record") throw new PeerFault("note.other_bytes");
    const { policy } = explained.body;
    const asAsked =
      toHex(sha256(message)) === draft.note_id &&
      toHex(explained.chain) === toHex(this.network.chain) &&
      toHex(policy.compartmentId) === person.compartment_id &&
      toHex(policy.author) === this.me.credentialId &&
      policy.date === day;
    if (!asAsked) throw new PeerFault("note.other_bytes");
    return { draft, message, signs: explained.body };
  }

  /** Signs what was shown; `signed` when the key has, the receipt when the record is final and this device has checked it. */
  async sign({ draft, message, signs }: Shown, signed: () => void): Promise<Receipt> {
    let signature = "";
    let final = false;
    await this.gateway.sign(draft.note_id, (event) => {
      if (event.event === "failed") throw new Remote(event.code, event.status);
      if (event.event === "final") final = true;
      else {
        signature = event.signature;
        signed();
      }
    });
    if (!final) throw new PeerFault("gateway.bad_answer");
    if (!verify(this.me.personKey, message, fromHex(signature))) throw new PeerFault("note.other_bytes");
    const state = (await this.network.reader(stateKey.record(signs.recordId))).record(signs.recordId);
    const stands =
      state !== null &&
      toHex(state.policyCommitment) === toHex(policyCommitment(signs.policy)) &&
      toHex(state.orgId) === this.orgId;
    if (!stands) throw new PeerFault("note.not_on_chain");
    return { recordId: toHex(signs.recordId), height: state.height, timeMs: state.timeMs };
  }
}

/** Whether it opens anything now. */
export function isAlive(grant: HeldGrant, nowMs: number): boolean {
  return !grant.revoked && nowMs < grant.expires_at_ms;
}
