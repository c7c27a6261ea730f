// Who looked: the person first, then when, what and why. That the list is complete is one press away, in words.

import type { AuditReport, Bytes, OwnReadReceipt, Read } from "../../sdk/src/index.ts";
import { equal, toHex } from "../../sdk/src/index.ts";
import { usePreferences } from "../app/preferences.ts";
import { entriesOf, type Entry } from "../fhir/entries.ts";
import { dayWords, momentWords } from "../words/dates.ts";
import { useErrorWords, useWords } from "../words/words.ts";
import type { Session, Who } from "./session.ts";
import { Told } from "../parts/Told.tsx";
import { useAsync } from "../parts/useAsync.ts";

interface Looked {
  readonly report: AuditReport;
  readonly who: ReadonlyMap<string, Who>;
  readonly entries: readonly Entry[];
  /** The owner key of now: days read with another one were somebody else's. */
  readonly mine: Bytes;
}

async function look(session: Session): Promise<Looked> {
  const report = await session.owner.audit(await session.grants());
  const who = await session.whoAre(report.reads.map(({ credentialId }) => credentialId));
  const { opened } = await session.records();
  return { report, who, entries: entriesOf(opened), mine: session.owner.keys.owner.public };
}

export function WhoLooked({ session }: { readonly session: Session }) {
  const say = useWords();
  const [asked, again] = useAsync(() => look(session), [session]);
  return (
    <div className="stack wide">
      <h1>{say("looked.title")}</h1>
      <Told asked={asked} wait={say("looked.wait")} again={again}>
        {(looked) => <Log {...looked} />}
      </Told>
    </div>
  );
}

function Log({ report, who, entries, mine }: Looked) {
  const say = useWords();
  return (
    <>
      <Complete report={report} />
      {report.reads.length === 0 ? (
        <p className="card">{say("looked.nobody")}</p>
      ) : (
        <ul className="stack">
          {[...report.reads].reverse().map((read) => (
            <li key={toHex(read.entryId)}>
              <ReadCard read={read} who={who.get(toHex(read.credentialId))} entries={entries} />
            </li>
          ))}
        </ul>
      )}
      <OwnReads days={daysOf(report, ({ ownerKey }) => equal(ownerKey, mine))} title="own.title" text="own.text" />
      <OwnReads days={daysOf(report, ({ ownerKey }) => !equal(ownerKey, mine))} title="custodian.title" text="custodian.text" />
    </>
  );
}

interface ReadCardProps {
  readonly read: Read;
  readonly who: Who | undefined;
  readonly entries: readonly Entry[];
}

function ReadCard({ read, who, entries }: ReadCardProps) {
  const say = useWords();
  const { language } = usePreferences();
  const opened = new Set(read.records.map(toHex));
  const seen = entries.filter(({ recordId }) => opened.has(recordId));
  return (
    <article className="card stack tight">
      <h2 className="who">{who?.person || read.name || say("who.unnamed", { id: toHex(read.credentialId).slice(0, 8) })}</h2>
      <p>{who?.organisation}</p>
      <p>{momentWords(read.timeMs, language)}</p>
      <p>{say(`purpose.${read.purpose}`)}</p>
      <details>
        <summary>{say("looked.what", { count: seen.length || read.records.length })}</summary>
        <ul className="stack tight">
          {seen.map((entry) => (
            <li key={entry.id}>
              <span className="soft small">{dayWords(entry.date, language)}</span> {entry.title || say(`kind.${entry.kind}`)}
            </li>
          ))}
        </ul>
      </details>
    </article>
  );
}

function Complete({ report }: { readonly report: AuditReport }) {
  const say = useWords();
  const fields = { count: report.entriesOnChain, opened: report.entriesOpened };
  return (
    <section className={report.complete ? "notice good" : "notice warn"}>
      <p className="strong">{say(report.complete ? "proof.complete" : "proof.open")}</p>
      <details>
        <summary>{say("proof.how")}</summary>
        <div className="stack tight">
          <p>{say("proof.chain", fields)}</p>
          <p>{say("proof.receipts", fields)}</p>
          <p>{say("proof.limit")}</p>
          {report.findings.map((finding, i) => (
            <FindingTold key={i} code={finding.code} />
          ))}
        </div>
      </details>
    </section>
  );
}

function FindingTold({ code }: { readonly code: string }) {
  const words = useErrorWords(code);
  return (
    <p>
      {words ?? code} <span className="small">({code})</span>
    </p>
  );
}

interface OwnReadsProps {
  readonly days: readonly string[];
  readonly title: string;
  readonly text: string;
}

function daysOf({ ownReads }: AuditReport, by: (read: OwnReadReceipt["by"][number]) => boolean): readonly string[] {
  return [...new Set(ownReads.filter((receipt) => receipt.by.some(by)).map(({ day }) => day))].sort().reverse();
}

/** Reading one's own record leaves notes too; they are many and dull, so they stay folded. */
function OwnReads({ days, title, text }: OwnReadsProps) {
  const say = useWords();
  const { language } = usePreferences();
  if (days.length === 0) return null;
  return (
    <details>
      <summary>{say(title, { count: days.length })}</summary>
      <div className="stack tight">
        <p className="soft">{say(text)}</p>
        <ul>
          {days.map((day) => (
            <li key={day}>{dayWords(day, language)}</li>
          ))}
        </ul>
      </div>
    </details>
  );
}
