// Twelve words to write down, numbered, in two columns that are read downwards one row after the other.

import type { Language } from "../../app/preferences.ts";

interface WordListProps {
  readonly words: string;
  readonly language: Language;
}

export function WordList({ words, language }: WordListProps) {
  return (
    <ol className="words card" lang={language} translate="no">
      {words.split(" ").map((word, i) => (
        <li key={i}>
          <span className="soft">{i + 1}</span>
          <span className="word">{word}</span>
        </li>
      ))}
    </ol>
  );
}
