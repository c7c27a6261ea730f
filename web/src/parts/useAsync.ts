// A screen asks, waits, and shows what came or why it did not.

import { type DependencyList, useCallback, useEffect, useState } from "react";

export type Asked<T> =
  { readonly is: "waiting" } | { readonly is: "here"; readonly value: T } | { readonly is: "failed"; readonly error: unknown };

/** Asks when shown and whenever `dependencies` change; `again` asks once more. An answer that came too late is dropped. */
export function useAsync<T>(ask: () => Promise<T>, dependencies: DependencyList): readonly [Asked<T>, () => void] {
  const [asked, setAsked] = useState<Asked<T>>({ is: "waiting" });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let wanted = true;
    setAsked({ is: "waiting" });
    ask().then(
      (value) => wanted && setAsked({ is: "here", value }),
      (error: unknown) => wanted && setAsked({ is: "failed", error }),
    );
    return () => {
      wanted = false;
    };
  }, [...dependencies, round]);
  return [asked, useCallback(() => setRound((before) => before + 1), [])];
}

/** Something a person started: busy meanwhile, and the reason when it failed. A second press while busy does nothing. */
export function useAct(): { busy: boolean; error: unknown; act: (does: () => Promise<void>) => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const act = (does: () => Promise<void>): void => {
    if (busy) return;
    setBusy(true);
    setError(null);
    does()
      .catch(setError)
      .finally(() => setBusy(false));
  };
  return { busy, error, act };
}
