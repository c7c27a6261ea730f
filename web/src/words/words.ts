// Words in zh-CN and en. Keys are places in the portal, or codes of errors: those are the server's own files, taken in at build time.
//
// Words come in parts (the shell's, the patient's, those for errors), each when it is first needed, in the language that is chosen.
// A missing key shows itself.

import i18next, { type i18n } from "i18next";
import { useEffect, useSyncExternalStore } from "react";
import { type Language, usePreferences } from "../app/preferences.ts";

export type Fields = Readonly<Record<string, string | number>>;
export type Say = (key: string, fields?: Fields) => string;
type Part = Readonly<Record<Language, () => Promise<{ default: Readonly<Record<string, string>> }>>>;

const SHELL: Part = {
  en: () => import("./shell.en.json"),
  "zh-CN": () => import("./shell.zh-CN.json"),
};
/** What patients and clinicians both read: entries of a record, problems, codes. */
export const COMMON: Part = {
  en: () => import("./common.en.json"),
  "zh-CN": () => import("./common.zh-CN.json"),
};
export const PATIENT: Part = {
  en: () => import("./patient.en.json"),
  "zh-CN": () => import("./patient.zh-CN.json"),
};
export const CLINICIAN: Part = {
  en: () => import("./clinician.en.json"),
  "zh-CN": () => import("./clinician.zh-CN.json"),
};
export const ERRORS: Part = {
  en: () => import("../../../src/hce/app/words/errors.en.json"),
  "zh-CN": () => import("../../../src/hce/app/words/errors.zh-CN.json"),
};

const words: i18n = i18next.createInstance();
const listeners = new Set<() => void>();
const needed = new Set<Part>([SHELL]);
/** Changes with every text that has come. */
let edition = 0;

/** Resolves when the shell's words are there. */
export async function startWords(language: Language): Promise<void> {
  await words.init({
    lng: language,
    resources: {},
    fallbackLng: false,
    keySeparator: false,
    nsSeparator: false,
    interpolation: { prefix: "{", suffix: "}", escapeValue: false },
    returnNull: false,
  });
  await change(language);
}

/** Resolves when a part's words are there in the language that is spoken now; it comes with every later one. */
export async function needWords(part: Part): Promise<void> {
  if (needed.has(part)) return;
  needed.add(part);
  try {
    await add(words.language as Language, part);
  } catch (error) {
    needed.delete(part); // the line was gone: asked for again when they are needed again
    throw error;
  }
  tell();
}

async function change(language: Language): Promise<void> {
  await Promise.all([...needed].map((part) => add(language, part)));
  await words.changeLanguage(language);
  tell();
}

async function add(language: Language, part: Part): Promise<void> {
  words.addResourceBundle(language, "translation", (await part[language]()).default, true, true);
}

function tell(): void {
  edition += 1;
  for (const listener of listeners) listener();
}

function listen(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The texts of the person's language, now and whenever it changes. */
export function useWords(): Say {
  const { language } = usePreferences();
  useSyncExternalStore(listen, () => edition);
  useEffect(() => {
    if (words.language !== language) void change(language);
  }, [language]);
  return (key, fields) => words.t(key, { ...fields });
}

/** Words for an error's code; null while they load, and for codes nobody wrote words for. */
export function useErrorWords(code: string): string | null {
  const say = useWords();
  useEffect(() => void needWords(ERRORS).catch(() => {}), []);
  return words.exists(code) ? say(code) : null;
}
