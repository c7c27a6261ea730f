// Addresses of the clinician's screens: "#/clinic/person/ID".

import { linkTo } from "../app/route.ts";

export const CLINIC = "clinic";

/** "person/ab12" is ["person", "ab12"]. */
export function screenOf(rest: string): readonly [screen: string, id: string] {
  const at = rest.indexOf("/");
  return at < 0 ? [rest, ""] : [rest.slice(0, at), rest.slice(at + 1)];
}

export function toScreen(screen: string, ...ids: readonly string[]): string {
  return linkTo(CLINIC, [screen, ...ids].join("/"));
}
