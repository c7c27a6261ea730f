// A record as a whole: what matters now, then everything in time, newest first.

import "./record.css";
import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { ToggleButton } from "react-aria-components/ToggleButton";
import { ToggleButtonGroup } from "react-aria-components/ToggleButtonGroup";
import { usePreferences } from "../app/preferences.ts";
import type { Entry, EntryKind } from "../fhir/entries.ts";
import { currentOf } from "../fhir/glance.ts";
import { dayWords } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import { type Below, EntryCard } from "./EntryCard.tsx";

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

export function WholeRecord({ entries, below }: { readonly entries: readonly Entry[]; readonly below: Below }) {
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
        <Timeline key={filter} shown={shown} all={entries} below={below} />
      </section>
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
  readonly below: Below;
}

function Timeline({ shown, all, below }: TimelineProps) {
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
                  <EntryCard entry={entry} all={all} below={below} />
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
