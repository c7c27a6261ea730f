// One person: what this clinician may open and until when, what was asked for, and what can be done.

import { usePreferences } from "../app/preferences.ts";
import { Told } from "../parts/Told.tsx";
import { useAsync } from "../parts/useAsync.ts";
import { dayWords, leftWords, momentWords } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import { type Case, type Desk, isAlive } from "./desk.ts";
import type { HeldGrant, MadeRequest, Person } from "./gateway.ts";
import { toScreen } from "./links.ts";
import { RequestCode } from "./RequestCode.tsx";

/** Asked for when everything is. */
export const FIRST_DAY = "1900-01-01";

interface PersonScreenProps {
  readonly desk: Desk;
  readonly patientId: string;
}

export function PersonScreen({ desk, patientId }: PersonScreenProps) {
  const say = useWords();
  const [asked, again] = useAsync(() => desk.caseOf(patientId), [desk, patientId]);
  return (
    <Told asked={asked} wait={say("desk.wait")} again={again}>
      {(found) => <Known desk={desk} found={found} />}
    </Told>
  );
}

function Known({ desk, found: { person, enrolled, grants, requests } }: { readonly desk: Desk; readonly found: Case }) {
  const say = useWords();
  const nowMs = desk.network.now();
  const alive = grants.filter((grant) => isAlive(grant, nowMs));
  const over = grants.filter((grant) => !isAlive(grant, nowMs));
  const { patient_id: id } = person;
  return (
    <div className="stack wide">
      <div>
        <h1>{nameOf(person, say)}</h1>
        {enrolled && <p className="soft">{say("person.written", { count: person.records })}</p>}
      </div>
      {person.custodial && <p className="notice">{say("person.custodial")}</p>}
      {alive.map((grant) => (
        <GrantCard key={grant.grant_id} grant={grant} nowMs={nowMs} />
      ))}
      {!enrolled && <p className="notice">{say("person.elsewhere")}</p>}
      {enrolled && alive.length === 0 && <p className="card">{say("person.closed")}</p>}
      {requests.map((request) => (
        <RequestCard key={request.request} request={request} name={person.label} />
      ))}
      <div className="stack tight">
        {enrolled && desk.me.powers.includes("write") && (
          <a className="button main full" href={toScreen("note", id)}>
            {say("note.title")}
          </a>
        )}
        <a className="button full" href={enrolled ? toScreen("ask", id) : toScreen("ask")}>
          {say("ask.title")}
        </a>
      </div>
      {over.length > 0 && <Over grants={over} />}
    </div>
  );
}

function GrantCard({ grant, nowMs }: { readonly grant: HeldGrant; readonly nowMs: number }) {
  const say = useWords();
  const { language } = usePreferences();
  const until = momentWords(grant.expires_at_ms, language);
  const left = leftWords(grant.expires_at_ms - nowMs, language);
  return (
    <section className="card stack">
      <div>
        <h2>{say("person.open")}</h2>
        <p>{say("access.until", { left, until })}</p>
        <p className="soft">{termsOf(grant, say, language)}</p>
      </div>
      <a className="button main full" href={toScreen("chart", grant.grant_id)}>
        {say("chart.go")}
      </a>
    </section>
  );
}

/** "For treatment. Records dated …". */
export function termsOf(
  { purpose, date_from, date_to }: Pick<HeldGrant, "purpose" | "date_from" | "date_to">,
  say: ReturnType<typeof useWords>,
  language: ReturnType<typeof usePreferences>["language"],
): string {
  const fields = { purpose: say(`purpose.${purpose}`), to: dayWords(date_to, language) };
  if (date_from <= FIRST_DAY) return say("access.terms.all", fields);
  return say("access.terms", { ...fields, from: dayWords(date_from, language) });
}

/** Somebody who is not enrolled is known by a number until their record was opened. */
export function nameOf(person: Person, say: ReturnType<typeof useWords>): string {
  return person.label || say("person.stranger", { id: person.compartment_id.slice(0, 8) });
}

export function RequestCard({ request, name }: { readonly request: MadeRequest; readonly name: string }) {
  const say = useWords();
  const { language } = usePreferences();
  return (
    <section className="card stack tight">
      <h2>{say("person.asked")}</h2>
      <p>{say("person.asked.text", { when: momentWords(request.asked_at_ms, language) })}</p>
      <p className="soft">{termsOf(request, say, language)}</p>
      {request.reason && <p className="soft">{say("person.asked.reason", { reason: request.reason })}</p>}
      <details>
        <summary>{say("person.asked.show")}</summary>
        <RequestCode request={request.request} days={request.lasts_days} reason={request.reason} name={name} />
      </details>
    </section>
  );
}

function Over({ grants }: { readonly grants: readonly HeldGrant[] }) {
  const say = useWords();
  const { language } = usePreferences();
  return (
    <details>
      <summary>{say("person.over", { count: grants.length })}</summary>
      <ul className="stack">
        {grants.map((grant) => (
          <li key={grant.grant_id} className="card stack tight">
            <p className="strong">
              {grant.revoked ? say("access.revoked") : say("access.expired", { until: momentWords(grant.expires_at_ms, language) })}
            </p>
            <p className="soft">{termsOf(grant, say, language)}</p>
          </li>
        ))}
      </ul>
    </details>
  );
}
