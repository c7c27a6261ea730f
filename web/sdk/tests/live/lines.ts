// JSON lines in, JSON lines out: how Python tests talk to this side.

import { createInterface } from "node:readline";
import { HceError } from "../../src/errors.ts";

export type Acts<G> = Readonly<Record<string, (given: G) => unknown>>;

/** Answers each line `{"act": …}` with `{"ok": …}`, or with the code of a named error; ends with its input. */
export async function answerLines<G>(acts: Acts<G>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const { act, ...given } = JSON.parse(line) as { act: string };
    const answer = await answered(async () => acts[act]!(given as G));
    await new Promise((written) => process.stdout.write(`${JSON.stringify(answer)}\n`, written));
  }
  process.exit(0); // whatever was still waiting for a node is waited for no more
}

async function answered(does: () => Promise<unknown>): Promise<object> {
  try {
    return { ok: (await does()) ?? null };
  } catch (error) {
    if (error instanceof HceError) return { code: error.code, message: error.message };
    return { code: "bug", message: String((error as Error).stack) };
  }
}
