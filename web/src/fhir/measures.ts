// Measured values with their units and usual ranges, as laboratories write them (FHIR R4 Observation).

import { at, isObject, type Json, numberAt, textAt, wordsAt } from "./json.ts";

export type Standing = "low" | "high" | "usual" | "unclear";

/** A value and its unit stay on one line. */
const BEFORE_UNIT = "\u00a0";

/** One value. `number` is null where the result is words ("negative"). */
export interface Measure {
  readonly title: string;
  readonly number: number | null;
  /** Value with unit, ready to be read. */
  readonly text: string;
  readonly unit: string;
  readonly low: number | null;
  readonly high: number | null;
  readonly standing: Standing;
}

/** As people write them; UCUM annotations in braces say nothing to a reader. */
const UNITS: Readonly<Record<string, string>> = { "mm[Hg]": "mmHg", Cel: "°C", "kg/m2": "kg/m²", "1": "", "{score}": "" };
/** Codes of v3 ObservationInterpretation. */
const STANDINGS: Readonly<Record<string, Standing>> = { L: "low", LL: "low", H: "high", HH: "high", N: "usual" };

/** The value of a resource, or those of its components; empty when nothing was measured. */
export function measuresOf(resource: Json, title: string): readonly Measure[] {
  const own = measureOf(resource, title);
  const parts = [...at(resource, "component")].sort(upperFirst).flatMap((part) => measureOf(part, wordsAt(part, "code")) ?? []);
  return own === null ? parts : [own, ...parts];
}

/** Everybody says a blood pressure upper value first, however the laboratory sent it (LOINC 8480-6, then 8462-4). */
function upperFirst(a: unknown, b: unknown): number {
  return Number(isLower(a)) - Number(isLower(b));
}

function isLower(component: unknown): boolean {
  return at(component, "code.coding.code").includes("8462-4");
}

/** "152 / 94 mmHg" for components of one unit, else each with its own. */
export function together(measures: readonly Measure[]): string {
  const [first] = measures;
  if (first === undefined) return "";
  const alike = measures.length > 1 && measures.every(({ unit, number }) => unit === first.unit && number !== null);
  if (!alike) return measures.map(({ text }) => text).join(", ");
  return `${measures.map(({ number }) => digits(number!)).join(" / ")}${BEFORE_UNIT}${first.unit}`.trim();
}

/** Two decimals, or two digits when smaller than that. */
export function digits(value: number): string {
  if (value !== 0 && Math.abs(value) < 0.01) return String(Number(value.toPrecision(2)));
  return String(Number(value.toFixed(2)));
}

export function hasRange({ low, high }: Measure): boolean {
  return low !== null || high !== null;
}

/** Only of one that has a range. */
export function rangeText({ low, high, unit }: Measure): string {
  const bounds = low === null ? `≤ ${digits(high!)}` : high === null ? `≥ ${digits(low)}` : `${digits(low)}–${digits(high)}`;
  return unit === "" ? bounds : `${bounds}${BEFORE_UNIT}${unit}`;
}

function measureOf(node: unknown, title: string): Measure | null {
  const [quantity] = at(node, "valueQuantity");
  const { low, high } = rangeOf(node);
  if (isObject(quantity)) {
    const number = numberAt(quantity, "value");
    if (number === null) return null;
    const unit = unitOf(quantity);
    const text = [textAt(quantity, "comparator"), digits(number), unit].filter(Boolean).join(BEFORE_UNIT);
    return { title, number, text, unit, low, high, standing: standingOf(node, number, low, high) };
  }
  const written = wordsAt(node, "valueCodeableConcept", "valueString") || numberOrYes(node);
  if (written === "") return null;
  return { title, number: null, text: written, unit: "", low: null, high: null, standing: standingOf(node, null, null, null) };
}

function numberOrYes(node: unknown): string {
  const integer = numberAt(node, "valueInteger");
  return integer === null ? "" : String(integer);
}

function unitOf(quantity: Json): string {
  const stated = textAt(quantity, "unit", "code");
  return UNITS[stated] ?? asWritten(stated);
}

/** "10*3/uL" is how machines write 10³/µL. */
function asWritten(unit: string): string {
  return unit
    .replace(/\{[^}]*\}/gu, "")
    .replace(/\bu(?=[LgmM]|mol|kat)/gu, "µ")
    .replace(/10\*(\d+)/gu, (_, power: string) => `10${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("")}`)
    .trim();
}

function rangeOf(node: unknown): { low: number | null; high: number | null } {
  const [range] = at(node, "referenceRange").filter((one) => at(one, "low").length + at(one, "high").length > 0);
  return { low: numberAt(range, "low.value"), high: numberAt(range, "high.value") };
}

/** What the laboratory said; else where the number lies in the range it gave. */
function standingOf(node: unknown, number: number | null, low: number | null, high: number | null): Standing {
  const said = STANDINGS[textAt(node, "interpretation.coding.code")];
  if (said !== undefined) return said;
  if (number === null || (low === null && high === null)) return "unclear";
  if (low !== null && number < low) return "low";
  return high !== null && number > high ? "high" : "usual";
}
