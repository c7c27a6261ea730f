// Keys and recovery: the words once more, locking, and taking the account off this device.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { cardMessage, explain, sentence } from "../../sdk/src/index.ts";
import { usePreferences } from "../app/preferences.ts";
import { linkTo } from "../app/route.ts";
import { useWords } from "../words/words.ts";
import { UnlockForm } from "./begin/Unlock.tsx";
import { WordList } from "./begin/WordList.tsx";
import { forget, type Kept, keptFor, wordsOf } from "./device.ts";
import type { Session } from "./session.ts";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";

interface KeysProps {
  readonly session: Session;
  readonly leave: () => void;
}

export function Keys({ session, leave }: KeysProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [asked, again] = useAsync(() => keptFor(session.portal.genesis), [session]);
  return (
    <div className="stack wide">
      <h1>{say("keys.title")}</h1>
      <Button className="button main full" onPress={leave}>
        {say("keys.lock")}
      </Button>
      <section className="card stack">
        <h2>{say("keys.words.title")}</h2>
        <p>{say("keys.words.text")}</p>
        <Told asked={asked} wait={say("wait.opening")} again={again}>
          {(kept) => kept && <ShowWords kept={kept} />}
        </Told>
      </section>
      <section className="card stack">
        <h2>{say("keys.device.title")}</h2>
        <p>{say("keys.device.text")}</p>
        <a className="button full" href={linkTo("code")}>
          {say("record.empty.code")}
        </a>
        {session.card !== null && (
          <p className="soft small">
            {say("keys.signed")} {sentence(explain(cardMessage(session.card.card)), language, () => null)}
          </p>
        )}
      </section>
      <section className="card stack">
        <h2>{say("renew.title")}</h2>
        <p>{say("renew.short")}</p>
        <a className="button full" href={linkTo("renew")}>
          {say("renew.begin")}
        </a>
      </section>
      <Forget session={session} leave={leave} />
    </div>
  );
}

function ShowWords({ kept }: { readonly kept: Kept }) {
  const say = useWords();
  const [words, setWords] = useState<string | null>(null);
  const [asking, setAsking] = useState(false);
  const { busy, error, act } = useAct();
  const open = (passphrase: string): void => act(async () => setWords(await wordsOf(kept, passphrase)));
  const hide = (): void => {
    setWords(null);
    setAsking(false);
  };
  if (words !== null)
    return (
      <>
        <WordList words={words} language={kept.language} />
        <Button className="button full" onPress={hide}>
          {say("keys.hide")}
        </Button>
      </>
    );
  if (!asking)
    return (
      <Button className="button full" onPress={() => setAsking(true)}>
        {say("keys.show")}
      </Button>
    );
  return (
    <>
      <UnlockForm kept={kept} busy={busy} open={open} />
      {busy && <Waiting>{say("unlock.wait")}</Waiting>}
      {error !== null && <Problem error={error} />}
    </>
  );
}

/** Asked twice: without the words on paper nothing brings the account back. */
function Forget({ session, leave }: KeysProps) {
  const say = useWords();
  const [sure, setSure] = useState(false);
  const remove = (): void => void forget(session.portal.genesis).then(leave);
  return (
    <section className="card stack">
      <h2>{say("forget.title")}</h2>
      <p>{say("forget.text")}</p>
      {sure ? (
        <div className="row">
          <Button className="button danger" onPress={remove}>
            {say("forget.yes")}
          </Button>
          <Button className="button" onPress={() => setSure(false)}>
            {say("forget.no")}
          </Button>
        </div>
      ) : (
        <Button className="button danger full" onPress={() => setSure(true)}>
          {say("forget.title")}
        </Button>
      )}
    </section>
  );
}
