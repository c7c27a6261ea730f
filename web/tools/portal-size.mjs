// Weighs the built portal: `node tools/portal-size.mjs` prints, as JSON, bytes after gzip of what everybody loads first and of what a
// patient or a clinician loads on top, and fails when one is beyond its bound. Of languages and word lists, the heavier one counts.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const BUNDLE = fileURLToPath(new URL("../../src/hce/app/portal/bundle", import.meta.url));
const SHELL_BYTES = 90_000;
const PART_BYTES = 140_000;

const manifest = JSON.parse(readFileSync(join(BUNDLE, "manifest.json"), "utf8"));
const named = (end) => Object.keys(manifest).filter((name) => name.endsWith(end));
const gzipped = (file) => gzipSync(readFileSync(join(BUNDLE, file)), { level: 9 }).length;

/** A chunk with everything it needs at once, in files. */
function filesOf(name, seen = new Set()) {
  if (seen.has(name)) return [];
  seen.add(name);
  const { file, css = [], assets = [], imports = [] } = manifest[name];
  return [file, ...css, ...assets, ...imports.flatMap((one) => filesOf(one, seen))];
}

const sum = (files) => [...files].reduce((total, file) => total + gzipped(file), 0);
const heaviest = (...names) => Math.max(...names.map((name) => gzipped(manifest[name].file)));
const shell = new Set(["index.html", ...filesOf("index.html")]);
const heaviestWords = (...parts) =>
  parts.reduce((total, part) => total + heaviest(...named(`${part}.en.json`), ...named(`${part}.zh-CN.json`)), 0);
/** What somebody loads on top of the shell. */
const part = (entry, words) =>
  sum(new Set(filesOf(named(entry)[0]).filter((file) => !shell.has(file)))) + heaviestWords("common", words, "errors");
const weights = {
  shell: sum(shell) + heaviestWords("shell"),
  patient: part("patient/Patient.tsx", "patient"),
  clinician: part("clinician/Clinic.tsx", "clinician"),
  words: heaviest(...named("wordlists/english.js"), ...named("wordlists/simplified-chinese.js")),
};
process.stdout.write(`${JSON.stringify(weights)}\n`);
if (weights.shell > SHELL_BYTES || Math.max(weights.patient, weights.clinician) > PART_BYTES) {
  process.stderr.write(`the portal is too heavy: at most ${SHELL_BYTES}, and ${PART_BYTES} for a part, in bytes after gzip\n`);
  process.exit(1);
}
