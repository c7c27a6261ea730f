// Days and times as people of a language write them. FHIR days may lack the day or the month.

import type { Language } from "../app/preferences.ts";

/** "6 March 2023", "March 2023", "2023". */
export function dayWords(date: string, language: Language): string {
  const [, year, month, day] = /^(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?/.exec(date) ?? [];
  if (year === undefined) return date;
  const parts: Intl.DateTimeFormatOptions = { year: "numeric" };
  if (month !== undefined) parts.month = "long";
  if (day !== undefined) parts.day = "numeric";
  const time = new Date(Date.UTC(Number(year), Number(month ?? 1) - 1, Number(day ?? 1)));
  return new Intl.DateTimeFormat(localeOf(language), { ...parts, timeZone: "UTC" }).format(time);
}

/** In this device's own time zone. */
export function momentWords(timeMs: number, language: Language): string {
  return new Intl.DateTimeFormat(localeOf(language), { dateStyle: "long", timeStyle: "short" }).format(new Date(timeMs));
}

const UNITS = [
  ["day", 24 * 3_600_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
] as const;

/** "in 6 days", "in 2 hours"; whole units, at least a minute. */
export function leftWords(leftMs: number, language: Language): string {
  const [unit, length] = UNITS.find(([, ms]) => leftMs >= ms) ?? UNITS[2];
  return new Intl.RelativeTimeFormat(localeOf(language)).format(Math.max(1, Math.round(leftMs / length)), unit);
}

/** YYYY-MM-DD on this device's calendar. */
export function today(nowMs: number): string {
  const now = new Date(nowMs);
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

function localeOf(language: Language): string {
  return language === "en" ? "en-GB" : "zh-CN";
}
