// Runs the SDK's tests with Node's own runner: `node tools/test.mjs`.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

const sdk = fileURLToPath(new URL("..", import.meta.url));
const tests = readdirSync(join(sdk, "tests")).filter((name) => name.endsWith(".test.ts"));
const out = mkdtempSync(join(tmpdir(), "hce-sdk-"));
try {
  await bundle(
    out,
    tests.map((name) => join(sdk, "tests", name)),
  );
  const built = tests.map((name) => join(out, name.replace(/\.ts$/, ".mjs")));
  const environment = { ...process.env, HCE_ROOT: join(sdk, "..", ".."), NODE_NO_WARNINGS: "1" };
  process.exitCode =
    spawnSync(process.execPath, ["--test", "--test-reporter=tap", ...built], { stdio: "inherit", env: environment }).status ?? 1;
} finally {
  rmSync(out, { recursive: true });
}
