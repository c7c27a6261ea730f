// Three of the words are asked for, each among others of the list: who wrote them down finds them at once.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { systemRandom, wordlist } from "../../../sdk/src/index.ts";
import type { Language } from "../../app/preferences.ts";
import { useWords } from "../../words/words.ts";
import { Told } from "../../parts/Told.tsx";
import { useAsync } from "../../parts/useAsync.ts";

const ASKED = 3;
const OFFERED = 6;

interface Question {
  readonly place: number;
  readonly offered: readonly string[];
}

interface RehearseProps {
  readonly words: string;
  readonly language: Language;
  readonly back: () => void;
  readonly done: () => void;
}

export function Rehearse({ words, language, back, done }: RehearseProps) {
  const say = useWords();
  const [asked, again] = useAsync(async () => questions(words.split(" "), await wordlist(language)), [words]);
  return (
    <section className="stack wide">
      <h1>{say("rehearse.title")}</h1>
      <Told asked={asked} wait={say("wait.opening")} again={again}>
        {(all) => <Questions all={all} words={words.split(" ")} language={language} done={done} />}
      </Told>
      <Button className="button full" onPress={back}>
        {say("rehearse.back")}
      </Button>
    </section>
  );
}

interface QuestionsProps {
  readonly all: readonly Question[];
  readonly words: readonly string[];
  readonly language: Language;
  readonly done: () => void;
}

function Questions({ all, words, language, done }: QuestionsProps) {
  const say = useWords();
  const [at, setAt] = useState(0);
  const [wrong, setWrong] = useState(false);
  const { place, offered } = all[at]!;
  const choose = (word: string): void => {
    const right = word === words[place];
    setWrong(!right);
    if (!right) return;
    if (at + 1 === all.length) done();
    else setAt(at + 1);
  };
  return (
    <div className="stack">
      <p className="lead" id="asked">
        {say("rehearse.ask", { place: place + 1 })}
      </p>
      <div className="words offered" role="group" aria-labelledby="asked" lang={language} translate="no">
        {offered.map((word) => (
          <Button key={`${place} ${word}`} className="button word" onPress={() => choose(word)}>
            {word}
          </Button>
        ))}
      </div>
      <p aria-live="polite">
        {wrong ? <span className="notice warn">{say("rehearse.wrong")}</span> : say("rehearse.left", { count: all.length - at })}
      </p>
    </div>
  );
}

/** Different places in rising order, each with its own word among strangers. */
function questions(words: readonly string[], list: readonly string[]): readonly Question[] {
  const places = shuffled(words.map((_, i) => i))
    .slice(0, ASKED)
    .sort((a, b) => a - b);
  return places.map((place) => {
    const strangers = shuffled(list.filter((word) => !words.includes(word)).slice()).slice(0, OFFERED - 1);
    return { place, offered: shuffled([words[place]!, ...strangers]) };
  });
}

function shuffled<T>(list: readonly T[]): T[] {
  const random = new Uint32Array(systemRandom(4 * list.length).buffer);
  return list
    .map((one, i) => ({ one, key: random[i]! }))
    .sort((a, b) => a.key - b.key)
    .map(({ one }) => one);
}
