// How large the SDK is in a page: `node tools/size.mjs` prints, as JSON, bytes after gzip of what a patient's page imports and of all of
// it, without the word lists, which are loaded when they are needed.

import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const resolveDir = fileURLToPath(new URL("..", import.meta.url));
const PATIENT = [
  "Network, Owner, CompartmentKeys, Root, newWords, seedFromWords, lock, unlock, keyFromPassphrase",
  "explain, sentence, AccessRequestShape, decodeAs",
].join();

async function sizeOf(contents) {
  const options = { bundle: true, minify: true, splitting: true, format: "esm", target: "es2022", outdir: "out", write: false };
  const { outputFiles } = await build({ stdin: { contents, resolveDir }, ...options });
  const gzipped = outputFiles.map(({ path, contents: code }) => [
    path.replace(/.*\/([a-z-]+?)(-[A-Z0-9]{8})?\.js$/, "$1"),
    gzipSync(code, { level: 9 }).length,
  ]);
  return Object.fromEntries(gzipped);
}

const { stdin: all } = await sizeOf('export * from "./src/index.ts"');
const { stdin: patient, ...words } = await sizeOf(`export { ${PATIENT} } from "./src/index.ts"`);
process.stdout.write(`${JSON.stringify({ patient, all, ...words })}\n`);
