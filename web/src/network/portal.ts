// Which network this portal is for. The file is served beside the page; everything it names is checked against the pinned genesis.

import { type Bytes, type ClaimDesk, fromHex, HceError, Network, Remote, toHex, Unavailable } from "../../sdk/src/index.ts";

export interface Portal {
  /** CID of the genesis, hex. */
  readonly genesis: string;
  readonly nodes: readonly string[];
  readonly gateways: readonly string[];
}

/** An organisation's gateway as it describes itself; its name is compared with the chain before it is trusted with anything. */
export interface GatewayStatus {
  readonly url: string;
  readonly org_id: string;
  readonly name: string;
  readonly name_zh: string;
  /** Whether it opens accounts for people who have none. */
  readonly welcomes: boolean;
}

export async function readPortal(): Promise<Portal> {
  return (await asked("./network.json")) as Portal;
}

export function joinNetwork(portal: Portal): Promise<Network> {
  return Network.join(portal.nodes, { trust: fromHex(portal.genesis) });
}

/** Those that answer. */
export async function gatewaysOf(portal: Portal): Promise<readonly GatewayStatus[]> {
  const answers = await Promise.allSettled(portal.gateways.map((url) => asked(`${url}/v1/status`)));
  return answers.flatMap((answer, i) =>
    answer.status === "fulfilled" ? [{ ...(answer.value as GatewayStatus), url: portal.gateways[i]! }] : [],
  );
}

/** Has a compartment with these digests opened at the organisation's expense. */
export async function askToOpen(gateway: string, ownerDigest: string, recoveryDigest: string): Promise<void> {
  await asked(`${gateway}/v1/welcome`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ owner_digest: ownerDigest, recovery_digest: recoveryDigest }),
  });
}

/** Where cards are used: DAG-CBOR in hex, both ways. */
export function deskOf(gateway: string): ClaimDesk {
  const post = (path: string, signed: Bytes): Promise<unknown> =>
    asked(gateway + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ signed: toHex(signed) }),
    });
  return {
    claim: async (signed) => fromHex(((await post("/v1/claims", signed)) as { readonly answer: string }).answer),
    finish: async (finish) => void (await post("/v1/claims/finish", finish)),
  };
}

/** One JSON answer. Throws the refusal of whoever answers, `portal.unreachable`. */
export async function asked(url: string, init: RequestInit = {}): Promise<unknown> {
  return reached(url, async () => (await answered(url, init)).json());
}

/** An answer that comes as one JSON line for each event, each told as it comes. */
export async function askedLines(url: string, init: RequestInit, told: (event: unknown) => void): Promise<void> {
  await reached(url, async () => {
    const answer = await answered(url, init);
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const lines = (rest + piece.value).split("\n");
      rest = lines.pop()!;
      for (const line of lines) told(JSON.parse(line));
    }
  });
}

async function answered(url: string, init: RequestInit): Promise<Response> {
  const answer = await fetch(url, { ...init, credentials: "omit", cache: "no-store", redirect: "error" });
  if (!answer.ok) throw new Remote(codeOf(await answer.json()), answer.status);
  return answer;
}

async function reached<T>(url: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof HceError) throw error;
    throw new Unavailable("portal.unreachable", "", { url });
  }
}

function codeOf(told: unknown): string {
  const code = typeof told === "object" && told !== null ? (told as Record<string, unknown>)["code"] : null;
  return typeof code === "string" ? code : "portal.unreachable";
}
