// The five places of a patient.

import { type Place, Places as Shown } from "../parts/Places.tsx";

const PLACES: readonly Place[] = [
  { place: "record", key: "place.record", path: "M7 3h7l4 4v14H7zM10 12h5M10 16h5M10 8h1" },
  { place: "looked", key: "place.looked", path: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7-10-7-10-7zM12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z" },
  {
    place: "can",
    key: "place.can",
    path: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.6-3.6 3-5.5 6.500-5.5s5.900 1.900 6.500 5.500M17 9l2 2 3.500-4",
  },
  { place: "approve", key: "place.approve", path: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M8.500 12.200l2.500 2.500 4.800-5" },
  { place: "keys", key: "place.keys", path: "M8 19a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM10.900 12.100L20 3M16 7l3 3" },
];

export function Places({ place }: { readonly place: string }) {
  return <Shown places={PLACES} here={place === "" || place === "code" ? "record" : place} />;
}
