// A new account, step by step: who opens it, twelve words on paper, three of them again, a lock for this device.

import { useEffect, useRef, useState } from "react";
import { Button } from "react-aria-components/Button";
import { newWords } from "../../../sdk/src/index.ts";
import { type Language, usePreferences } from "../../app/preferences.ts";
import { linkTo } from "../../app/route.ts";
import { useWords } from "../../words/words.ts";
import type { Entrance } from "../Patient.tsx";
import { Session } from "../session.ts";
import { Told } from "../../parts/Told.tsx";
import { useAsync } from "../../parts/useAsync.ts";
import { DeviceLock } from "./DeviceLock.tsx";
import { OpenAccount } from "./OpenAccount.tsx";
import { Rehearse } from "./Rehearse.tsx";
import { WordList } from "./WordList.tsx";

interface BeginProps {
  readonly entrance: Entrance;
  readonly enter: (session: Session) => void;
}

const STEPS = ["words", "rehearse", "lock", "open"] as const;
type Step = (typeof STEPS)[number];

export function Begin({ entrance, enter }: BeginProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [asked, again] = useAsync(async () => ({ words: await newWords(language), language }), []);
  const [step, setStep] = useState<Step>("words");
  const at = STEPS.indexOf(step) + 1;
  const page = useRef<HTMLDivElement>(null);
  useEffect(() => page.current?.focus(), [step]); // who listens is told where they are now
  return (
    <div className="stack wide" ref={page} tabIndex={-1}>
      <p className="soft small">{say("begin.step", { at, of: STEPS.length })}</p>
      {step === "words" && entrance.card !== null && <p className="notice">{say("claim.first")}</p>}
      <Told asked={asked} wait={say("wait.opening")} again={again}>
        {(made) => <Steps {...made} step={step} setStep={setStep} entrance={entrance} enter={enter} />}
      </Told>
    </div>
  );
}

interface StepsProps extends BeginProps {
  readonly words: string;
  readonly language: Language;
  readonly step: Step;
  readonly setStep: (step: Step) => void;
}

function Steps({ words, language, step, setStep, entrance, enter }: StepsProps) {
  const say = useWords();
  switch (step) {
    case "words":
      return (
        <section className="stack wide">
          <h1>{say("begin.words.title")}</h1>
          <p>{say("begin.words.text")}</p>
          <WordList words={words} language={language} />
          <p className="notice warn">{say("begin.words.warn")}</p>
          <Button className="button main full" onPress={() => setStep("rehearse")}>
            {say("begin.words.next")}
          </Button>
          {entrance.card === null && (
            <a className="button quiet" href={linkTo("claim")}>
              {say("claim.have")}
            </a>
          )}
        </section>
      );
    case "rehearse":
      return <Rehearse words={words} language={language} back={() => setStep("words")} done={() => setStep("lock")} />;
    case "lock":
      return (
        <DeviceLock
          genesis={entrance.portal.genesis}
          words={words}
          language={language}
          replaces={false}
          done={() => setStep("open")}
        />
      );
    case "open":
      return <OpenAccount entrance={entrance} open={() => Session.open(entrance.portal, entrance.network, words)} enter={enter} />;
  }
}
