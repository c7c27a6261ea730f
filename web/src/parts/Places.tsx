// The main places, with pictures that are drawn and not fetched.

import "../design/places.css";
import { linkTo } from "../app/route.ts";
import { useWords } from "../words/words.ts";

export interface Place {
  readonly place: string;
  readonly rest?: string;
  /** Of its name in the words. */
  readonly key: string;
  /** Of its picture, 24 by 24. */
  readonly path: string;
}

interface PlacesProps {
  readonly places: readonly Place[];
  /** Where somebody is: `place`, or `rest` of those that share one. */
  readonly here: string;
}

export function Places({ places, here }: PlacesProps) {
  const say = useWords();
  return (
    <nav className="places" aria-label={say("place.all")}>
      {places.map(({ place, rest = "", key, path }) => (
        <a key={key} className="place" href={linkTo(place, rest)} aria-current={(rest || place) === here ? "page" : undefined}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d={path} />
          </svg>
          {say(key)}
        </a>
      ))}
    </nav>
  );
}
