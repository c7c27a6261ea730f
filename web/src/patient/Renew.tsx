// "Somebody may have my words": new words, the same account. What is signed is shown; the old words stay on paper until it is done.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { explain, newWords, type Rotation, sentence } from "../../sdk/src/index.ts";
import { type Language, usePreferences } from "../app/preferences.ts";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";
import { useWords } from "../words/words.ts";
import { DeviceLock } from "./begin/DeviceLock.tsx";
import { Rehearse } from "./begin/Rehearse.tsx";
import { UnlockForm } from "./begin/Unlock.tsx";
import { WordList } from "./begin/WordList.tsx";
import { keptFor, wordsOf } from "./device.ts";
import type { Session } from "./session.ts";

interface RenewProps {
  readonly session: Session;
  readonly enter: (session: Session) => void;
}

/** The words of now, to hand their keys on, and those that take their place. */
interface Both {
  readonly old: string;
  readonly words: string;
  readonly language: Language;
}

export function Renew({ session, enter }: RenewProps) {
  const [both, setBoth] = useState<Both | null>(null);
  const [noted, setNoted] = useState(false);
  const [known, setKnown] = useState(false);
  const [renewed, setRenewed] = useState<Session | null>(null);
  if (both === null) return <Begin session={session} begin={setBoth} />;
  const { words, language } = both;
  if (renewed !== null)
    return <DeviceLock genesis={session.portal.genesis} words={words} language={language} replaces done={() => enter(renewed)} />;
  if (known) return <Sign session={session} both={both} renewed={setRenewed} />;
  if (noted) return <Rehearse words={words} language={language} back={() => setNoted(false)} done={() => setKnown(true)} />;
  return <Words words={words} language={language} next={() => setNoted(true)} />;
}

function Begin({ session, begin }: { readonly session: Session; readonly begin: (both: Both) => void }) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const [asked, again] = useAsync(() => keptFor(session.portal.genesis), [session]);
  return (
    <section className="stack wide">
      <h1>{say("renew.title")}</h1>
      <p>{say("renew.text")}</p>
      <p className="notice warn">{say("renew.ends")}</p>
      <Told asked={asked} wait={say("wait.opening")} again={again}>
        {(kept) =>
          kept && (
            <UnlockForm
              kept={kept}
              busy={busy}
              open={(passphrase) =>
                act(async () => begin({ old: await wordsOf(kept, passphrase), words: await newWords(language), language }))
              }
            />
          )
        }
      </Told>
      {busy && <Waiting>{say("unlock.wait")}</Waiting>}
      {error !== null && <Problem error={error} />}
    </section>
  );
}

interface WordsProps {
  readonly words: string;
  readonly language: Language;
  readonly next: () => void;
}

function Words({ words, language, next }: WordsProps) {
  const say = useWords();
  return (
    <section className="stack wide">
      <h1>{say("renew.words")}</h1>
      <p>{say("begin.words.text")}</p>
      <WordList words={words} language={language} />
      <p className="notice warn">{say("renew.keep")}</p>
      <Button className="button main full" onPress={next}>
        {say("begin.words.next")}
      </Button>
    </section>
  );
}

interface SignProps {
  readonly session: Session;
  readonly both: Both;
  readonly renewed: (session: Session) => void;
}

function Sign({ session, both, renewed }: SignProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const [asked, again] = useAsync(() => session.prepareRotation(both.words), [session, both]);
  const rotate = (rotation: Rotation): void => act(async () => renewed(await session.rotate(both.old, both.words, rotation)));
  if (busy) return <Waiting>{say("renew.wait")}</Waiting>;
  return (
    <section className="stack wide">
      <h1>{say("renew.title")}</h1>
      {error !== null && <Problem error={error} />}
      <Told asked={asked} wait={say("wait.network")} again={again}>
        {(rotation) => (
          <>
            <div className="card stack">
              <p className="soft small">{say("approve.signed")}</p>
              <p className="sentence" data-testid="sentence">
                {sentence(explain(rotation.body.bytes), language, () => say("lock.label"))}
              </p>
            </div>
            <Button className="button main full" onPress={() => rotate(rotation)}>
              {say("renew.sign")}
            </Button>
          </>
        )}
      </Told>
    </section>
  );
}
