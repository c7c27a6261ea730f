// My record: what matters now, then everything in time, newest first.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { ToggleButton } from "react-aria-components/ToggleButton";
import { ToggleButtonGroup } from "react-aria-components/ToggleButtonGroup";
import { toHex, type Waiting as WaitingEntry } from "../../../sdk/src/index.ts";
import { linkTo } from "../../app/route.ts";
import { usePreferences } from "../../app/preferences.ts";
import { entriesOf, type Entry, type EntryKind } from "../../fhir/entries.ts";
import { currentOf } from "../../fhir/glance.ts";
import { dayWords } from "../../words/dates.ts";
import { useWords } from "../../words/words.ts";
import type { Session } from "../session.ts";
import { Problem, Told, Waiting } from "../Told.tsx";
import { useAct, useAsync } from "../useAsync.ts";
import { EntryCard } from "./EntryCard.tsx";

/** Entries put on the page at one time. */
const SHOWN_AT_ONCE = 60;
/** What the buttons above the timeline leave in it. */
const FILTERS: Readonly<Record<string, readonly EntryKind[]>> = {
  results: ["lab", "vital", "finding", "report", "imaging"],
  conditions: ["condition", "allergy"],
  medicines: ["medicine", "vaccine"],
  visits: ["visit", "procedure"],
  documents: ["document", "report"],
};

export function MyRecord({ session }: { readonly session: Session }) {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const [{ opened, refused }, waiting] = await Promise.all([session.records(), session.owner.quarantine()]);
    return { entries: entriesOf(opened), refused: refused.size, waiting };
  }, [session]);
  const refresh = (): void => {
    session.refresh();
    again();
  };
  return (
    <div className="stack wide">
      <div className="row apart">
        <h1>{say("record.title")}</h1>
        <Button className="button quiet" onPress={refresh}>
          {say("record.refresh")}
        </Button>
      </div>
      <Told asked={asked} wait={say("record.wait")} again={refresh}>
        {({ entries, refused, waiting }) => (
          <>
            {waiting.map((one) => (
              <WaitingCard key={toHex(one.item).slice(0, 64)} waiting={one} session={session} done={refresh} />
            ))}
            {refused > 0 && <p className="notice warn">{say("record.refused", { count: refused })}</p>}
            {entries.length === 0 ? <Empty /> : <Full entries={entries} session={session} />}
          </>
        )}
      </Told>
    </div>
  );
}

function Empty() {
  const say = useWords();
  return (
    <div className="card stack">
      <h2>{say("record.empty.title")}</h2>
      <p>{say("record.empty.text")}</p>
      <a className="button main full" href={linkTo("code")}>
        {say("record.empty.code")}
      </a>
    </div>
  );
}

function Full({ entries, session }: { readonly entries: readonly Entry[]; readonly session: Session }) {
  const say = useWords();
  const [filter, setFilter] = useState("all");
  const kinds = FILTERS[filter];
  const shown = kinds === undefined ? entries : entries.filter(({ kind }) => kinds.includes(kind));
  return (
    <>
      <Glance entries={entries} />
      <section className="stack" aria-labelledby="timeline">
        <h2 id="timeline">{say("record.timeline")}</h2>
        <ToggleButtonGroup
          className="choices"
          aria-label={say("record.filter")}
          selectionMode="single"
          disallowEmptySelection
          selectedKeys={[filter]}
          onSelectionChange={(keys) => setFilter(String([...keys][0]))}
        >
          {["all", ...Object.keys(FILTERS)].map((name) => (
            <ToggleButton key={name} id={name} className="choice">
              {say(`filter.${name}`)}
            </ToggleButton>
          ))}
        </ToggleButtonGroup>
        <Timeline key={filter} shown={shown} all={entries} session={session} />
      </section>
      <a className="button full" href={linkTo("code")}>
        {say("record.empty.code")}
      </a>
    </>
  );
}

function Glance({ entries }: { readonly entries: readonly Entry[] }) {
  const say = useWords();
  const groups = (["condition", "allergy", "medicine"] as const).map((kind) => ({ kind, current: currentOf(entries, kind) }));
  if (groups.every(({ current }) => current.length === 0)) return null;
  return (
    <section className="glance card" aria-label={say("record.glance")}>
      {groups
        .filter(({ current }) => current.length > 0)
        .map(({ kind, current }) => (
          <div key={kind}>
            <h2>{say(`glance.${kind}`)}</h2>
            <ul>
              {current.map((one) => (
                <li key={one.id}>{one.title}</li>
              ))}
            </ul>
          </div>
        ))}
    </section>
  );
}

interface TimelineProps {
  readonly shown: readonly Entry[];
  readonly all: readonly Entry[];
  readonly session: Session;
}

function Timeline({ shown, all, session }: TimelineProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [most, setMost] = useState(SHOWN_AT_ONCE);
  const days = byDay(shown.slice(0, most));
  if (shown.length === 0) return <p className="soft">{say("record.nothing")}</p>;
  return (
    <>
      <ol className="stack wide">
        {[...days].map(([date, entries]) => (
          <li key={date} className="stack tight">
            <h3 className="day">{dayWords(date, language)}</h3>
            <ul className="card entries">
              {entries.map((entry) => (
                <li key={entry.id}>
                  <EntryCard entry={entry} all={all} session={session} />
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ol>
      {shown.length > most && (
        <Button className="button full" onPress={() => setMost(most + SHOWN_AT_ONCE)}>
          {say("record.more", { count: shown.length - most })}
        </Button>
      )}
    </>
  );
}

function byDay(entries: readonly Entry[]): ReadonlyMap<string, readonly Entry[]> {
  const days = new Map<string, Entry[]>();
  for (const entry of entries) days.set(entry.date, [...(days.get(entry.date) ?? []), entry]);
  return days;
}

interface WaitingCardProps {
  readonly waiting: WaitingEntry;
  readonly session: Session;
  readonly done: () => void;
}

/** What came from an organisation that has no permission to write: nothing of it counts until the owner takes it. */
function WaitingCard({ waiting, session, done }: WaitingCardProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const { openings } = waiting.session;
  const day = openings[0]?.opening.policy.date ?? "";
  return (
    <section className="card stack">
      <h2>{say("waiting.title")}</h2>
      <p>{say("waiting.text", { count: openings.length, date: dayWords(day, language) })}</p>
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say("wait.nodes")}</Waiting>
      ) : (
        <div className="row">
          <Button className="button main" onPress={() => act(() => session.owner.accept(waiting).then(done))}>
            {say("waiting.accept")}
          </Button>
          <Button className="button danger" onPress={() => act(() => session.owner.reject(waiting).then(done))}>
            {say("waiting.reject")}
          </Button>
        </div>
      )}
    </section>
  );
}
