// What matters now, and how a measured thing went over time.

import type { Entry, EntryKind } from "./entries.ts";
import type { Measure } from "./measures.ts";

const OVER = new Set(["entered-in-error", "resolved", "inactive", "remission", "stopped", "cancelled", "not-done", "replaced"]);

/** Conditions, allergies and medicines that are not over; the newest entry of each name. */
export function currentOf(entries: readonly Entry[], kind: EntryKind): readonly Entry[] {
  const newest = new Map<string, Entry>();
  for (const entry of entries) {
    if (entry.kind === kind && !newest.has(entry.title)) newest.set(entry.title, entry);
  }
  return [...newest.values()].filter(({ status, title }) => title !== "" && !OVER.has(status));
}

export interface Point {
  readonly date: string;
  readonly measure: Measure;
}

/** Every value of what `measure` measures, newest first; units must agree. */
export function historyOf(entries: readonly Entry[], measure: Measure): readonly Point[] {
  return entries.flatMap(({ date, measures, status }) =>
    status === "entered-in-error" || status === "replaced"
      ? []
      : measures
          .filter(({ title, unit }) => title === measure.title && unit === measure.unit)
          .map((one) => ({ date, measure: one })),
  );
}

/** Entries that a grant over these days shows. */
export function within(entries: readonly Entry[], from: string, to: string): readonly Entry[] {
  return entries.filter(({ date }) => from <= date && date <= to);
}
