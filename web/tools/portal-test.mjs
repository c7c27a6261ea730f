// Runs the portal's own tests with Node's runner: `node tools/portal-test.mjs`.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "../sdk/tools/bundle.mjs";

const folder = fileURLToPath(new URL("../src/tests", import.meta.url));
const tests = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
const out = mkdtempSync(join(tmpdir(), "hce-portal-"));
try {
  await bundle(
    out,
    tests.map((name) => join(folder, name)),
  );
  const built = tests.map((name) => join(out, name.replace(/\.ts$/, ".mjs")));
  const environment = { ...process.env, NODE_NO_WARNINGS: "1" };
  process.exitCode = spawnSync(process.execPath, ["--test", ...built], { stdio: "inherit", env: environment }).status ?? 1;
} finally {
  rmSync(out, { recursive: true });
}
