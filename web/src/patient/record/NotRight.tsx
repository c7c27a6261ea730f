// "Not right?": a text for the organisation that wrote the entry, which the person hands over. Nothing is sent from here: the network
// has no way yet for a person to write to an organisation.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { fromHex } from "../../../sdk/src/index.ts";
import { usePreferences } from "../../app/preferences.ts";
import type { Entry } from "../../fhir/entries.ts";
import { together } from "../../fhir/measures.ts";
import { dayWords } from "../../words/dates.ts";
import { useWords } from "../../words/words.ts";
import type { Session } from "../session.ts";
import { useAsync } from "../../parts/useAsync.ts";

interface NotRightProps {
  readonly entry: Entry;
  readonly title: string;
  readonly session: Session;
}

export function NotRight({ entry, title, session }: NotRightProps) {
  const say = useWords();
  const [open, setOpen] = useState(false);
  if (open) return <Letter entry={entry} title={title} session={session} />;
  return (
    <Button className="button" onPress={() => setOpen(true)}>
      {say("wrong.ask")}
    </Button>
  );
}

function Letter({ entry, title, session }: NotRightProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [said, setSaid] = useState("");
  const [copied, setCopied] = useState(false);
  const [asked] = useAsync(() => session.whoAre([fromHex(entry.orgId)]), [entry.orgId]);
  const organisation = asked.is === "here" ? (asked.value.get(entry.orgId)?.organisation ?? "") : "";
  const what = [title, together(entry.measures)].filter(Boolean).join(": ");
  const date = dayWords(entry.date, language);
  const letter = say("wrong.letter", { organisation, author: entry.author, what, date, record: entry.recordId.slice(0, 16), said });
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(letter);
    setCopied(true);
  };
  return (
    <section className="stack notice">
      <h5>{say("wrong.title")}</h5>
      <p>{say("wrong.text", { organisation })}</p>
      <div className="field">
        <label htmlFor={`wrong ${entry.id}`}>{say("wrong.what")}</label>
        <textarea id={`wrong ${entry.id}`} value={said} onChange={(event) => setSaid(event.target.value)} />
      </div>
      <pre className="paper">{letter}</pre>
      <Button className="button main" onPress={() => void copy()}>
        {copied ? say("copy.done") : say("wrong.copy")}
      </Button>
    </section>
  );
}
