// Safe steps into resources that others wrote: whatever is missing or of another type is simply not there.

export type Json = Readonly<Record<string, unknown>>;

/** Everything at a path, lists flattened: `at(r, "code.coding.display")`. */
export function at(node: unknown, path: string): readonly unknown[] {
  return path.split(".").reduce<readonly unknown[]>((nodes, member) => nodes.flatMap((one) => stepInto(one, member)), [node]);
}

function stepInto(node: unknown, name: string): readonly unknown[] {
  if (!isObject(node) || !Object.hasOwn(node, name)) return [];
  const value = node[name];
  return Array.isArray(value) ? value : value === null || value === undefined ? [] : [value];
}

export function isObject(node: unknown): node is Json {
  return typeof node === "object" && node !== null && !Array.isArray(node);
}

/** The first text at any of the paths; "" when there is none. */
export function textAt(node: unknown, ...paths: readonly string[]): string {
  for (const path of paths) {
    for (const value of at(node, path)) {
      if (typeof value === "string" && value.trim() !== "") return value.trim();
    }
  }
  return "";
}

export function numberAt(node: unknown, path: string): number | null {
  const [value] = at(node, path);
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** What only machines need in a name: tags of SNOMED CT ("(procedure)"), properties and methods of LOINC ("[Mass/volume]"). */
const FOR_MACHINES = [
  /\s+\((?:procedure|finding|disorder|situation|regime\/therapy|observable entity)\)$/u,
  /\s*\[[A-Z#][\w ]*(?:\/[\w. ]+)?\]/gu,
  / by Automated count$/u,
];

/** What a person wrote for a coded thing: never the code itself. */
export function wordsAt(node: unknown, ...paths: readonly string[]): string {
  for (const path of paths) {
    for (const value of at(node, path)) {
      const found = typeof value === "string" ? value : textAt(value, "text", "display", "coding.display", "concept.text");
      if (found) return FOR_MACHINES.reduce((words, tag) => words.replace(tag, ""), found);
    }
  }
  return "";
}

/** Null for nothing, and for what is no base64. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> | null {
  if (base64 === "") return null;
  try {
    return Uint8Array.from(atob(base64.replace(/\s+/gu, "")), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
