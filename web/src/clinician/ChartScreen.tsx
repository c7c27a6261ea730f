// The chart: what a patient granted, opened for a reason that goes into their log. Nothing is opened before the clinician says why.

import { type FormEvent, useState } from "react";
import { Button } from "react-aria-components/Button";
import { HceError, toHex } from "../../sdk/src/index.ts";
import { usePreferences } from "../app/preferences.ts";
import type { Entry } from "../fhir/entries.ts";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";
import { useStep } from "../parts/useStep.ts";
import { WholeRecord } from "../record/WholeRecord.tsx";
import { leftWords, momentWords } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import { type Case, type Chart, type Desk, isAlive } from "./desk.ts";
import type { HeldGrant, Person } from "./gateway.ts";
import { toScreen } from "./links.ts";
import { nameOf, termsOf } from "./PersonScreen.tsx";

const MAX_REASON_CHARS = 500;
/** Refusals after which the grant opens nothing any more. */
const ENDED = /revoked|expired|voided|owner_changed|compartment_version|revoke_seen/;

interface ChartScreenProps {
  readonly desk: Desk;
  readonly grantId: string;
}

export function ChartScreen({ desk, grantId }: ChartScreenProps) {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const { cases } = await desk.cases();
    const found = cases.find(({ grants }) => grants.some(({ grant_id }) => grant_id === grantId));
    const grant = found?.grants.find(({ grant_id }) => grant_id === grantId);
    return found === undefined || grant === undefined ? null : { found, grant };
  }, [desk, grantId]);
  return (
    <Told asked={asked} wait={say("desk.wait")} again={again}>
      {(known) => (known === null ? <p className="card">{say("chart.unknown")}</p> : <Known desk={desk} {...known} />)}
    </Told>
  );
}

interface KnownProps {
  readonly desk: Desk;
  readonly found: Case;
  readonly grant: HeldGrant;
}

function Known({ desk, found: { person, enrolled }, grant }: KnownProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [chart, setChart] = useState<Chart | null>(desk.opened(grant.grant_id));
  const { busy, error, act } = useAct();
  useStep(busy ? "opening" : chart === null ? "why" : "open");
  const nowMs = desk.network.now();
  const alive = isAlive(grant, nowMs);
  const open = (reason: string): void =>
    act(async () => {
      setChart(null);
      setChart(await desk.open(grant, reason));
    });
  const until = momentWords(grant.expires_at_ms, language);
  const left = leftWords(grant.expires_at_ms - nowMs, language);
  const ended = error instanceof HceError && ENDED.test(error.code);
  return (
    <div className="stack wide">
      <div>
        <p className="soft">{say("chart.title")}</p>
        <h1>{calledIn(chart) || nameOf(person, say)}</h1>
      </div>
      <section className={alive && !ended ? "notice" : "notice warn"}>
        <p>
          {ended || grant.revoked
            ? say("access.ended")
            : alive
              ? say("access.until", { left, until })
              : say("access.expired", { until })}
        </p>
        <p className="small">{termsOf(grant, say, language)}</p>
      </section>
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say("chart.wait")}</Waiting>
      ) : chart !== null ? (
        <Opened desk={desk} chart={chart} person={person} again={open} />
      ) : alive && !ended ? (
        <Why open={open} />
      ) : (
        <a className="button full" href={enrolled ? toScreen("ask", person.patient_id) : toScreen("ask")}>
          {say("ask.title")}
        </a>
      )}
    </div>
  );
}

/** As the record itself calls them. */
function calledIn(chart: Chart | null): string {
  return chart?.entries.find(({ kind }) => kind === "person")?.title ?? "";
}

function Why({ open }: { readonly open: (reason: string) => void }) {
  const say = useWords();
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    open((new FormData(event.currentTarget).get("why") as string).trim());
  };
  return (
    <form className="card stack" onSubmit={submit} autoComplete="off">
      <div className="field">
        <label htmlFor="why">{say("chart.why")}</label>
        <input id="why" name="why" maxLength={MAX_REASON_CHARS} required aria-describedby="why-help" />
        <p className="soft small" id="why-help">
          {say("chart.why.help")}
        </p>
      </div>
      <Button type="submit" className="button main full">
        {say("chart.open")}
      </Button>
      <p className="small">{say("chart.seen")}</p>
    </form>
  );
}

interface OpenedProps {
  readonly desk: Desk;
  readonly chart: Chart;
  readonly person: Person;
  readonly again: (reason: string) => void;
}

function Opened({ desk, chart: { entries, reading, readAtMs }, person, again }: OpenedProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [asking, setAsking] = useState(false);
  return (
    <>
      <p className="soft small" role="status">
        {say("chart.read", { when: momentWords(readAtMs, language), count: reading.records.length })}
      </p>
      {reading.refused > 0 && <p className="notice warn">{say("chart.refused", { count: reading.refused })}</p>}
      <WholeRecord entries={entries} below={(entry) => <Correct desk={desk} entry={entry} patientId={person.patient_id} />} />
      {asking ? (
        <Why open={again} />
      ) : (
        <Button className="button full" onPress={() => setAsking(true)}>
          {say("chart.again")}
        </Button>
      )}
      <a className="button full" href={toScreen("person", person.patient_id)}>
        {say("note.back.person", { name: nameOf(person, say) })}
      </a>
    </>
  );
}

/** Only of notes this clinician wrote here. */
function Correct({ desk, entry, patientId }: { readonly desk: Desk; readonly entry: Entry; readonly patientId: string }) {
  const say = useWords();
  const mine = entry.authorKey === toHex(desk.me.personKey) && entry.orgId === desk.orgId && entry.status !== "replaced";
  if (!mine || desk.noteOf(entry.recordId) === null) return null;
  return (
    <a className="button" href={toScreen("correct", patientId, entry.recordId)}>
      {say("note.correct")}
    </a>
  );
}
