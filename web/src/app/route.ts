// Where somebody is: the part of the address behind "#", which no server sees. "#/approve/ABC" is ["approve", "ABC"].

import { useSyncExternalStore } from "react";

export type Route = readonly [place: string, rest: string];

export function usePlace(): Route {
  const hash = useSyncExternalStore(
    (listener) => {
      addEventListener("hashchange", listener);
      return () => removeEventListener("hashchange", listener);
    },
    () => location.hash,
  );
  return routeOf(hash);
}

export function routeOf(hash: string): Route {
  const [, place = "", rest = ""] = /^#\/([a-z-]*)\/?(.*)$/.exec(hash) ?? [];
  return [place, rest];
}

export function linkTo(place: string, rest = ""): string {
  return rest ? `#/${place}/${rest}` : `#/${place}`;
}

/** `replace` leaves no trace in the history: for addresses that were used up. */
export function goTo(place: string, rest = "", replace = false): void {
  if (replace) location.replace(linkTo(place, rest));
  else location.assign(linkTo(place, rest));
}
