// One entry: a line that says it all, and behind it the sentence, the number line, the table, the papers, and what may be done.

import { type ReactNode, useState } from "react";
import { Button } from "react-aria-components/Button";
import { usePreferences } from "../app/preferences.ts";
import type { Attachment, Entry } from "../fhir/entries.ts";
import { historyOf } from "../fhir/glance.ts";
import { hasRange, type Measure, rangeText, together } from "../fhir/measures.ts";
import { dayWords } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import { NumberLine } from "./NumberLine.tsx";

/** What whoever looks may do about an entry. */
export type Below = (entry: Entry, title: string) => ReactNode;

interface EntryCardProps {
  readonly entry: Entry;
  readonly all: readonly Entry[];
  readonly below: Below;
}

export function EntryCard({ entry, all, below }: EntryCardProps) {
  const say = useWords();
  const [open, setOpen] = useState(false);
  const { measures } = entry;
  const title = entry.title || say(`kind.${entry.kind}`);
  const standing = measures.find((one) => one.standing === "low" || one.standing === "high")?.standing;
  return (
    <article className="entry">
      <h4>
        <Button className="entry-line" aria-expanded={open} onPress={() => setOpen(!open)}>
          <span className="entry-title">
            {entry.title && <span className="kind">{say(`kind.${entry.kind}`)}</span>}
            <span className="strong">{title}</span>
          </span>
          <span className="entry-value">
            {together(measures)}
            {standing && <span className="tag bad">{say(`standing.${standing}`)}</span>}
            {entry.status && <span className="tag">{say(`status.${entry.status}`)}</span>}
          </span>
        </Button>
      </h4>
      {open && <Inside entry={entry} title={title} all={all} below={below} />}
    </article>
  );
}

function Inside({ entry, title, all, below }: EntryCardProps & { readonly title: string }) {
  const say = useWords();
  const results = all.filter(({ resourceId, date }) => entry.results.includes(resourceId) && date === entry.date);
  return (
    <div className="inside stack appears">
      {entry.measures.map((measure) => (
        <MeasureTold key={measure.title} measure={measure} date={entry.date} all={all} />
      ))}
      {entry.facts.length > 0 && (
        <dl className="facts">
          {entry.facts.map(({ key, text }) => (
            <div key={key}>
              <dt>{say(`fact.${key}`)}</dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
      )}
      {results.length > 0 && <Results results={results} />}
      {entry.attachments.map((one) => (
        <Paper key={one.name} paper={one} />
      ))}
      <p className="soft small">{say("entry.signed", { name: entry.author })}</p>
      {below(entry, title)}
    </div>
  );
}

interface MeasureToldProps {
  readonly measure: Measure;
  readonly date: string;
  readonly all: readonly Entry[];
}

function MeasureTold({ measure, date, all }: MeasureToldProps) {
  const say = useWords();
  const { language } = usePreferences();
  const history = historyOf(all, measure);
  const ranged = hasRange(measure);
  const ranges = history.some((point) => hasRange(point.measure));
  const range = ranged ? rangeText(measure) : "";
  const fields = { title: measure.title, value: measure.text, date: dayWords(date, language), range };
  return (
    <div className="stack tight">
      <p>{say(ranged ? `lab.${measure.standing}` : "lab.plain", fields)}</p>
      {measure.number !== null && ranged && <NumberLine measure={measure} />}
      {history.length > 1 && (
        <table>
          <caption>{say("lab.history", { title: measure.title })}</caption>
          <thead>
            <tr>
              <th scope="col">{say("lab.date")}</th>
              <th scope="col">{say("lab.value")}</th>
              {ranges && <th scope="col">{say("lab.range")}</th>}
            </tr>
          </thead>
          <tbody>
            {history.map((point, i) => (
              <tr key={i}>
                <td>{dayWords(point.date, language)}</td>
                <td>
                  {point.measure.text}{" "}
                  {(point.measure.standing === "low" || point.measure.standing === "high") && (
                    <span className="tag bad">{say(`standing.${point.measure.standing}`)}</span>
                  )}
                </td>
                {ranges && <td>{hasRange(point.measure) ? rangeText(point.measure) : "–"}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function Results({ results }: { readonly results: readonly Entry[] }) {
  const say = useWords();
  return (
    <table>
      <caption>{say("report.results")}</caption>
      <thead>
        <tr>
          <th scope="col">{say("report.what")}</th>
          <th scope="col">{say("lab.value")}</th>
          <th scope="col">{say("lab.range")}</th>
        </tr>
      </thead>
      <tbody>
        {results.flatMap((entry) =>
          entry.measures.map((one) => (
            <tr key={`${entry.id} ${one.title}`}>
              <td>{one.title}</td>
              <td>
                {one.text}{" "}
                {(one.standing === "low" || one.standing === "high") && (
                  <span className="tag bad">{say(`standing.${one.standing}`)}</span>
                )}
              </td>
              <td>{hasRange(one) ? rangeText(one) : "–"}</td>
            </tr>
          )),
        )}
      </tbody>
    </table>
  );
}

/** Text is shown here; anything else is handed to the person as a file, never run or rendered in this page. */
function Paper({ paper }: { readonly paper: Attachment }) {
  const say = useWords();
  if (paper.mediaType.startsWith("text/plain")) return <pre className="paper">{new TextDecoder().decode(paper.content)}</pre>;
  const save = (): void => {
    const url = URL.createObjectURL(new Blob([paper.content], { type: "application/octet-stream" }));
    Object.assign(document.createElement("a"), { href: url, download: paper.name }).click();
    URL.revokeObjectURL(url);
  };
  return (
    <Button className="button" onPress={save}>
      {say("entry.save", { name: paper.name })}
    </Button>
  );
}
