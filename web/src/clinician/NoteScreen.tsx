// Writing a note: the form, then what is signed (said from the bytes that are signed), then what the network made of it.

import { type FormEvent, useEffect, useState } from "react";
import { Button } from "react-aria-components/Button";
import { type Bytes, explain, Refused, sentence, toHex } from "../../sdk/src/index.ts";
import { usePreferences } from "../app/preferences.ts";
import { MAX_NOTE_CHARS, type Note, NOTE_KINDS, noteBytes, type NoteKind, readNote } from "../fhir/notes.ts";
import { Choice } from "../parts/Choice.tsx";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";
import { useStep } from "../parts/useStep.ts";
import { dayWords, momentWords, today } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import type { Desk, Receipt, Shown } from "./desk.ts";
import type { Person } from "./gateway.ts";
import { toScreen } from "./links.ts";

const KINDS = Object.keys(NOTE_KINDS) as readonly NoteKind[];

interface NoteScreenProps {
  readonly desk: Desk;
  readonly patientId: string;
  /** Record of the note that a later version is written of. */
  readonly corrects: string | null;
}

export function NoteScreen({ desk, patientId, corrects }: NoteScreenProps) {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const before = corrects === null ? null : desk.noteOf(corrects);
    if (corrects !== null && before === null) throw new Refused("note.not_open");
    return { person: (await desk.caseOf(patientId)).person, before };
  }, [desk, patientId, corrects]);
  return (
    <Told asked={asked} wait={say("desk.wait")} again={again}>
      {({ person, before }) => <Writing desk={desk} person={person} before={before} corrects={corrects} />}
    </Told>
  );
}

interface WritingProps {
  readonly desk: Desk;
  readonly person: Person;
  readonly before: Note | null;
  readonly corrects: string | null;
}

/** A sealed note, with the bytes that were sealed. */
interface Sealed {
  readonly shown: Shown;
  readonly content: Bytes;
}

function Writing({ desk, person, before, corrects }: WritingProps) {
  const say = useWords();
  const about = `${person.patient_id}/${corrects ?? ""}`;
  const [begun] = useState(desk.begun.get(about) ?? null);
  const [note, setNote] = useState<Note | null>(begun ?? before);
  const [sealed, setSealed] = useState<Sealed | null>(null);
  const [receipt, setReceipt] = useState<Receipt | null>(null);
  const { busy, error, act } = useAct();
  useStep(receipt !== null ? "done" : sealed !== null ? "sign" : "write");
  const seal = (written: Note): void =>
    act(async () => {
      setNote(written);
      const { credentialId, name } = desk.me;
      const nowMs = desk.network.now();
      const parties = { compartmentId: person.compartment_id, patient: person.label, credentialId, author: name };
      const content = noteBytes({ note: written, ...parties, nowMs, corrects: corrects !== null });
      setSealed({ shown: await desk.draft(person, content, today(nowMs), corrects), content });
    });
  const keep = (written: Note): void => {
    const untouched = written.text === (before?.text ?? "") && written.kind === (before?.kind ?? written.kind);
    if (untouched) desk.begun.delete(about);
    else desk.begun.set(about, written);
  };
  const done = (final: Receipt): void => {
    desk.begun.delete(about);
    setReceipt(final);
  };
  return (
    <div className="stack wide">
      <div>
        <h1>{say(receipt !== null ? "note.done" : corrects === null ? "note.title" : "note.correct.title")}</h1>
        <p className="lead">{person.label}</p>
      </div>
      {error !== null && <Problem error={error} />}
      {receipt !== null ? (
        <Done receipt={receipt} person={person} />
      ) : busy ? (
        <Waiting>{say("note.sealing")}</Waiting>
      ) : sealed === null ? (
        <>
          {begun !== null && <p className="notice">{say("note.begun")}</p>}
          <Form note={note} keep={keep} done={seal} />
        </>
      ) : (
        <Signing desk={desk} person={person} sealed={sealed} back={() => setSealed(null)} done={done} />
      )}
    </div>
  );
}

interface FormProps {
  readonly note: Note | null;
  readonly keep: (note: Note) => void;
  readonly done: (note: Note) => void;
}

function Form({ note, keep, done }: FormProps) {
  const say = useWords();
  const [id] = useState(note?.id ?? crypto.randomUUID());
  const [kind, setKind] = useState<NoteKind>(note?.kind ?? "progress");
  const [text, setText] = useState(note?.text ?? "");
  const tooLong = text.trim().length > MAX_NOTE_CHARS;
  const written = (): Note => ({ id, kind, title: say(`note.kind.${kind}`), text: text.trim() });
  useEffect(() => keep(written()), [kind, text]);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    if (!tooLong) done(written());
  };
  return (
    <form className="stack wide" onSubmit={submit} autoComplete="off">
      <Choice name="note.kind" values={KINDS} chosen={kind} choose={setKind} />
      <div className="field">
        <label htmlFor="text">{say("note.text")}</label>
        <textarea id="text" name="text" className="tall" value={text} onChange={({ target }) => setText(target.value)} required />
        <p className="soft small">{say("note.text.help")}</p>
      </div>
      {tooLong && (
        <p className="notice warn" role="alert">
          {say("note.long", { count: text.trim().length, most: MAX_NOTE_CHARS })}
        </p>
      )}
      <Button type="submit" className="button main full" isDisabled={tooLong}>
        {say("note.look")}
      </Button>
    </form>
  );
}

interface SigningProps {
  readonly desk: Desk;
  readonly person: Person;
  readonly sealed: Sealed;
  readonly back: () => void;
  readonly done: (receipt: Receipt) => void;
}

function Signing({ desk, person, sealed: { shown, content }, back, done }: SigningProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [signed, setSigned] = useState(false);
  const { busy, error, act } = useAct();
  const nameOf = (subject: Bytes): string | null =>
    ({ [desk.me.credentialId]: desk.me.name, [person.compartment_id]: person.label })[toHex(subject)] ?? null;
  return (
    <div className="stack">
      <section className="card stack">
        <Preview content={content} day={shown.signs.policy.date} author={desk.me.name} />
      </section>
      <section className="card stack">
        <p className="soft small">{say("note.signed.by")}</p>
        <p className="sentence" data-testid="sentence">
          {sentence(explain(shown.message), language, nameOf)}
        </p>
        {shown.draft.amends !== null && <p>{say("note.replaces")}</p>}
        <p className="soft small">{say("note.honest", { name: person.label })}</p>
      </section>
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say(signed ? "note.storing" : "note.signing")}</Waiting>
      ) : (
        <>
          {error === null && (
            <Button
              className="button main full"
              onPress={() => act(async () => done(await desk.sign(shown, () => setSigned(true))))}
            >
              {say("note.sign")}
            </Button>
          )}
          <Button className="button full" onPress={back}>
            {say("note.back")}
          </Button>
        </>
      )}
    </div>
  );
}

/** As a reader will see it, read again from the bytes that were sealed. */
function Preview({ content, day, author }: { readonly content: Bytes; readonly day: string; readonly author: string }) {
  const say = useWords();
  const { language } = usePreferences();
  const note = readNote(JSON.parse(new TextDecoder().decode(content)));
  if (note === null) return null;
  return (
    <>
      <div>
        <p className="soft">{dayWords(day, language)}</p>
        <h2>{note.title}</h2>
      </div>
      <p className="note-text">{note.text}</p>
      <p className="soft small">{say("entry.signed", { name: author })}</p>
    </>
  );
}

function Done({ receipt, person }: { readonly receipt: Receipt; readonly person: Person }) {
  const say = useWords();
  const { language } = usePreferences();
  return (
    <div className="stack">
      <p className="notice good" role="status">
        {say("note.final", { name: person.label })}
      </p>
      <section className="card stack tight">
        <h2>{say("receipt.title")}</h2>
        <dl className="facts">
          <div>
            <dt>{say("receipt.when")}</dt>
            <dd>{momentWords(receipt.timeMs, language)}</dd>
          </div>
          <div>
            <dt>{say("receipt.block")}</dt>
            <dd>{receipt.height}</dd>
          </div>
          <div>
            <dt>{say("receipt.record")}</dt>
            <dd className="code">{receipt.recordId}</dd>
          </div>
        </dl>
        <p className="soft small">{say("receipt.checked")}</p>
      </section>
      <a className="button main full" href={toScreen("person", person.patient_id)}>
        {say("note.back.person", { name: person.label })}
      </a>
    </div>
  );
}
