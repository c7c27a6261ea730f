// What somebody will see under a grant: the very entries that lie within its days today.

import { usePreferences } from "../app/preferences.ts";
import type { Entry } from "../fhir/entries.ts";
import { together } from "../fhir/measures.ts";
import { dayWords } from "../words/dates.ts";
import { useWords } from "../words/words.ts";

/** More are counted, not listed. */
const LISTED = 200;

export function Preview({ entries }: { readonly entries: readonly Entry[] }) {
  const say = useWords();
  const { language } = usePreferences();
  return (
    <details>
      <summary>{say("preview.title", { count: entries.length })}</summary>
      <div className="stack tight">
        <p className="soft small">{say("preview.text")}</p>
        <ul className="stack tight">
          {entries.slice(0, LISTED).map((entry) => (
            <li key={entry.id}>
              <span className="soft small">{dayWords(entry.date, language)}</span>{" "}
              {[entry.title || say(`kind.${entry.kind}`), together(entry.measures)].filter(Boolean).join(": ")}
            </li>
          ))}
        </ul>
        {entries.length > LISTED && <p>{say("preview.more", { count: entries.length - LISTED })}</p>}
      </div>
    </details>
  );
}
