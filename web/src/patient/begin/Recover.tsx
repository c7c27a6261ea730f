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
  readonly enter: (session: Session) => void;
}

interface Found {
  readonly words: string;
  readonly language: Language;
  readonly session: Session;
  readonly opened: boolean;
}

export function Recover({ entrance, enter }: RecoverProps) {
  const [found, setFound] = useState<Found | null>(null);
  const [kept, setKept] = useState(false);
  if (found === null) return <AskWords entrance={entrance} found={setFound} />;
  if (!kept) {
    const done = (): void => (found.opened ? enter(found.session) : setKept(true));
    return <DeviceLock genesis={entrance.portal.genesis} words={found.words} language={found.language} done={done} />;
  }
  return <OpenAccount entrance={entrance} open={() => Promise.resolve(found.session)} enter={enter} />;
}

function AskWords({ entrance, found }: { readonly entrance: Entrance; readonly found: (found: Found) => void }) {
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
