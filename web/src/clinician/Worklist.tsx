// The people of the practice: who has given access and for how long, who has been asked, who else is here.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { Told } from "../parts/Told.tsx";
import { useAsync } from "../parts/useAsync.ts";
import { leftWords } from "../words/dates.ts";
import { usePreferences } from "../app/preferences.ts";
import { useWords } from "../words/words.ts";
import { type Case, type Desk, isAlive } from "./desk.ts";
import { toScreen } from "./links.ts";
import { nameOf, RequestCard } from "./PersonScreen.tsx";

/** People put on the page at one time. */
const SHOWN_AT_ONCE = 40;

export function Worklist({ desk }: { readonly desk: Desk }) {
  const say = useWords();
  const [asked, again] = useAsync(() => desk.cases(), [desk]);
  return (
    <div className="stack wide">
      <div className="row apart">
        <div>
          <h1>{say("desk.people")}</h1>
          <p className="soft">{desk.organisation}</p>
        </div>
        <Button className="button quiet" onPress={again}>
          {say("desk.refresh")}
        </Button>
      </div>
      <Told asked={asked} wait={say("desk.wait")} again={again}>
        {({ cases, elsewhere }) => (
          <>
            {cases.length === 0 ? <Nobody /> : <People cases={cases} nowMs={desk.network.now()} />}
            {elsewhere.map((request) => (
              <RequestCard key={request.request} request={request} name={say("ask.them")} />
            ))}
            {cases.length > 0 && (
              <a className="button full" href={toScreen("enrol")}>
                {say("enrol.title")}
              </a>
            )}
            <a className="button full" href={toScreen("ask")}>
              {say("ask.elsewhere")}
            </a>
          </>
        )}
      </Told>
    </div>
  );
}

function Nobody() {
  const say = useWords();
  return (
    <div className="card stack">
      <p>{say("desk.nobody")}</p>
      <a className="button main full" href={toScreen("enrol")}>
        {say("enrol.title")}
      </a>
    </div>
  );
}

function People({ cases, nowMs }: { readonly cases: readonly Case[]; readonly nowMs: number }) {
  const say = useWords();
  const [wanted, setWanted] = useState("");
  const [most, setMost] = useState(SHOWN_AT_ONCE);
  const ordered = cases
    .filter(({ person }) => nameOf(person, say).toLowerCase().includes(wanted.trim().toLowerCase()))
    .sort((a, b) => rankOf(a, nowMs) - rankOf(b, nowMs));
  return (
    <div className="stack">
      <div className="field">
        <label htmlFor="find">{say("desk.find")}</label>
        <input id="find" type="search" autoComplete="off" value={wanted} onChange={(event) => setWanted(event.target.value)} />
      </div>
      {ordered.length === 0 ? (
        <p className="soft">{say("desk.none")}</p>
      ) : (
        <ul className="card people">
          {ordered.slice(0, most).map((one) => (
            <li key={one.person.patient_id}>
              <PersonLine found={one} nowMs={nowMs} />
            </li>
          ))}
        </ul>
      )}
      {ordered.length > most && (
        <Button className="button full" onPress={() => setMost(most + SHOWN_AT_ONCE)}>
          {say("record.more", { count: ordered.length - most })}
        </Button>
      )}
    </div>
  );
}

/** Whose record is open comes first, then who was asked. */
function rankOf({ grants, requests }: Case, nowMs: number): number {
  return grants.some((grant) => isAlive(grant, nowMs)) ? 0 : requests.length > 0 ? 1 : 2;
}

function PersonLine({ found: { person, grants, requests }, nowMs }: { readonly found: Case; readonly nowMs: number }) {
  const say = useWords();
  const { language } = usePreferences();
  const alive = grants.find((grant) => isAlive(grant, nowMs));
  return (
    <a className="person" href={toScreen("person", person.patient_id)}>
      <span className="strong">{nameOf(person, say)}</span>
      {alive !== undefined ? (
        <span className="tag good">{say("access.ends", { left: leftWords(alive.expires_at_ms - nowMs, language) })}</span>
      ) : requests.length > 0 ? (
        <span className="tag">{say("access.asked")}</span>
      ) : null}
    </a>
  );
}
