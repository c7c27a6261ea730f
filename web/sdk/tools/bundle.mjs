// Bundles TypeScript entry points into a folder, as plain modules for Node: `node bundle.mjs OUT ENTRY...`. Nothing is checked here;
// `tsc` does that.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export async function bundle(out, entries) {
  await build({
    entryPoints: entries,
    outdir: out,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    outExtension: { ".js": ".mjs" },
    logLevel: "error",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle(process.argv[2], process.argv.slice(3));
