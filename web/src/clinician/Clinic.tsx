// The clinician's part: signing in at an organisation's gateway, then the worklist and what follows. Loaded when somebody asks for it.

import "../design/more-parts.css";
import "./clinic.css";
import { useEffect, useRef, useState } from "react";
import type { Network } from "../../sdk/src/index.ts";
import { goTo } from "../app/route.ts";
import { joinNetwork, type Portal, readPortal } from "../network/portal.ts";
import { type Place, Places } from "../parts/Places.tsx";
import { Told } from "../parts/Told.tsx";
import { useAsync } from "../parts/useAsync.ts";
import { useIdleLock } from "../parts/useIdleLock.ts";
import { useWords } from "../words/words.ts";
import { Ask } from "./Ask.tsx";
import { ChartScreen } from "./ChartScreen.tsx";
import type { Desk } from "./desk.ts";
import { Enrol } from "./Enrol.tsx";
import { CLINIC, screenOf } from "./links.ts";
import { NoteScreen } from "./NoteScreen.tsx";
import { PersonScreen } from "./PersonScreen.tsx";
import { SignedIn } from "./SignedIn.tsx";
import { SignIn } from "./SignIn.tsx";
import { Worklist } from "./Worklist.tsx";

const PLACES: readonly Place[] = [
  {
    place: CLINIC,
    key: "desk.people",
    path: "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2 20q1-5 7-5t7 5M16 11a3 3 0 1 0 0-6M18 15q3 1 4 5",
  },
  { place: CLINIC, rest: "enrol", key: "desk.enrol", path: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M12 8.500v7M8.500 12h7" },
  { place: CLINIC, rest: "me", key: "desk.me", path: "M8 19a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM10.900 12.100L20 3M16 7l3 3" },
];

export interface Entrance {
  readonly portal: Portal;
  readonly network: Network;
}

/** `rest`: where in the clinician's part somebody is. */
export default function Clinic({ rest }: { readonly rest: string }) {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const portal = await readPortal();
    return { portal, network: await joinNetwork(portal) };
  }, []);
  return asked.is === "here" ? (
    <Door entrance={asked.value} rest={rest} />
  ) : (
    <main className="page">
      <Told asked={asked} wait={say("wait.network")} again={again}>
        {() => null}
      </Told>
    </main>
  );
}

function Door({ entrance, rest }: { readonly entrance: Entrance; readonly rest: string }) {
  const [desk, setDesk] = useState<Desk | null>(null);
  const leave = (): void => {
    setDesk(null);
    goTo(CLINIC, "", true);
  };
  useIdleLock(desk !== null, leave);
  if (desk !== null) return <Inside desk={desk} rest={rest} leave={leave} />;
  return (
    <main className="page appears" tabIndex={-1}>
      <SignIn entrance={entrance} enter={setDesk} />
    </main>
  );
}

interface InsideProps {
  readonly desk: Desk;
  readonly rest: string;
  readonly leave: () => void;
}

function Inside({ desk, rest, leave }: InsideProps) {
  const [screen, id] = screenOf(rest);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    const ask = (event: BeforeUnloadEvent): void => {
      if (desk.begun.size > 0) event.preventDefault(); // the browser asks whether a note that was begun may be lost
    };
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [desk]);
  useEffect(() => {
    main.current?.focus();
    scrollTo(0, 0);
  }, [rest]);
  return (
    <>
      <main className="page appears" key={rest} ref={main} tabIndex={-1}>
        {screen === "person" ? (
          <PersonScreen desk={desk} patientId={id} />
        ) : screen === "chart" ? (
          <ChartScreen desk={desk} grantId={id} />
        ) : screen === "note" ? (
          <NoteScreen desk={desk} patientId={id} corrects={null} />
        ) : screen === "correct" ? (
          <Corrected desk={desk} id={id} />
        ) : screen === "ask" ? (
          <Ask desk={desk} patientId={id} />
        ) : screen === "enrol" ? (
          <Enrol desk={desk} />
        ) : screen === "me" ? (
          <SignedIn desk={desk} leave={leave} />
        ) : (
          <Worklist desk={desk} />
        )}
      </main>
      <Places places={PLACES} here={screen === "enrol" || screen === "me" ? screen : CLINIC} />
    </>
  );
}

function Corrected({ desk, id }: { readonly desk: Desk; readonly id: string }) {
  const [patientId = "", recordId = ""] = id.split("/");
  return <NoteScreen desk={desk} patientId={patientId} corrects={recordId} />;
}
