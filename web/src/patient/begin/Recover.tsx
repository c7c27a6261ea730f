// The twelve words on another device: they find the account, its records and its log again.

import { type FormEvent, useState } from "react";
import { Button } from "react-aria-components/Button";
import { entropyFromWords } from "../../../sdk/src/index.ts";
import type { Language } from "../../app/preferences.ts";
import { useWords } from "../../words/words.ts";
import type { Entrance } from "../Patient.tsx";
import { Session } from "../session.ts";
import { Problem, Waiting } from "../../parts/Told.tsx";
import { useAct } from "../../parts/useAsync.ts";
import { DeviceLock } from "./DeviceLock.tsx";
import { OpenAccount } from "./OpenAccount.tsx";

interface RecoverProps {
  readonly entrance: Entrance;
  /** Whether an account is locked on this device, which these words may not be of. */
  readonly kept: boolean;
  readonly enter: (session: Session) => void;
}

interface Found {
  readonly words: string;
  readonly language: Language;
  readonly session: Session;
  readonly opened: boolean;
}

export function Recover({ entrance, kept, enter }: RecoverProps) {
  const say = useWords();
  const [found, setFound] = useState<Found | null>(null);
  const [typed, setTyped] = useState("");
  const [meant, setMeant] = useState(false);
  const [locked, setLocked] = useState(false);
  if (found === null) return <AskWords entrance={entrance} typed={typed} found={setFound} />;
  const again = (): void => {
    setTyped(found.words);
    setFound(null);
  };
  if (!found.opened && !meant) return <NoAccount again={again} open={() => setMeant(true)} />;
  if (!locked) {
    const done = (): void => (found.opened ? enter(found.session) : setLocked(true));
    return (
      <div className="stack wide">
        {kept && <p className="notice warn">{say("recover.replaces")}</p>}
        <DeviceLock genesis={entrance.portal.genesis} words={found.words} language={found.language} replaces done={done} />
      </div>
    );
  }
  return <OpenAccount entrance={entrance} open={() => Promise.resolve(found.session)} enter={enter} />;
}

/** One of sixteen slips of the pen makes other valid words: whoever has an account must not get an empty one in its place unasked. */
function NoAccount({ again, open }: { readonly again: () => void; readonly open: () => void }) {
  const say = useWords();
  return (
    <section className="stack wide">
      <h1>{say("recover.none.title")}</h1>
      <p className="notice warn" role="alert">
        {say("recover.none.text")}
      </p>
      <Button className="button main full" onPress={again}>
        {say("recover.none.again")}
      </Button>
      <Button className="button full" onPress={open}>
        {say("recover.none.open")}
      </Button>
    </section>
  );
}

interface AskWordsProps {
  readonly entrance: Entrance;
  /** What was typed before. */
  readonly typed: string;
  readonly found: (found: Found) => void;
}

function AskWords({ entrance, typed, found }: AskWordsProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget).get("words") as string;
    act(async () => {
      const language: Language = /\p{Script=Han}/u.test(given) ? "zh-CN" : "en";
      const words = plain(given, language);
      (await entropyFromWords(words)).wipe();
      const session = await Session.open(entrance.portal, entrance.network, words);
      const { opened } = session;
      if (opened) await session.publish();
      found({ words, language, session, opened });
    });
  };
  return (
    <form className="stack wide" onSubmit={submit} autoComplete="off">
      <h1>{say("recover.title")}</h1>
      <div className="field">
        <label htmlFor="words">{say("recover.words")}</label>
        <textarea
          id="words"
          name="words"
          defaultValue={typed}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          aria-describedby="words-help"
          required
        />
        <p className="soft small" id="words-help">
          {say("recover.help")}
        </p>
      </div>
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say("recover.wait")}</Waiting>
      ) : (
        <Button type="submit" className="button main full">
          {say("recover.find")}
        </Button>
      )}
    </form>
  );
}

/** Words with one space between them; Chinese words are single characters and may come without. */
function plain(given: string, language: Language): string {
  return language === "zh-CN" ? [...given.replace(/\s+/gu, "")].join(" ") : given.trim().toLowerCase().split(/\s+/u).join(" ");
}
