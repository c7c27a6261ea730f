// Which network this portal is for. The file is served beside the page; everything it names is checked against the pinned genesis.

import { fromHex, HceError, Network, Remote, Unavailable } from "../../sdk/src/index.ts";

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

async function asked(url: string, init: RequestInit = {}): Promise<unknown> {
  try {
    const answer = await fetch(url, { ...init, credentials: "omit", cache: "no-store", redirect: "error" });
    const told: unknown = await answer.json();
    if (!answer.ok) throw new Remote(codeOf(told), answer.status);
    return told;
  } catch (error) {
    if (error instanceof HceError) throw error;
    throw new Unavailable("portal.unreachable", "", { url });
  }
}

function codeOf(told: unknown): string {
  const code = typeof told === "object" && told !== null ? (told as Record<string, unknown>)["code"] : null;
  return typeof code === "string" ? code : "portal.unreachable";
}
