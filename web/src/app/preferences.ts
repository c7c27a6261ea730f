// What a person chose about the page itself: language and elder mode. The only two things the portal keeps in localStorage.

import { useSyncExternalStore } from "react";

export type Language = "en" | "zh-CN";

export interface Preferences {
  readonly language: Language;
  /** 长辈版: large text, large targets. */
  readonly elder: boolean;
}

const LANGUAGE_KEY = "hce.language";
const ELDER_KEY = "hce.elder";

const listeners = new Set<() => void>();
let current: Preferences = { language: "en", elder: false };

/** From the last visit, else from the browser. */
export function startPreferences(): Preferences {
  const kept = localStorage.getItem(LANGUAGE_KEY);
  const wished = kept ?? navigator.language;
  current = { language: wished.toLowerCase().startsWith("zh") ? "zh-CN" : "en", elder: localStorage.getItem(ELDER_KEY) === "on" };
  show();
  return current;
}

export function prefer(change: Partial<Preferences>): void {
  current = { ...current, ...change };
  localStorage.setItem(LANGUAGE_KEY, current.language);
  localStorage.setItem(ELDER_KEY, current.elder ? "on" : "off");
  show();
  for (const listener of listeners) listener();
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}

function show(): void {
  document.documentElement.lang = current.language;
  document.documentElement.dataset["elder"] = current.elder ? "on" : "off";
}
