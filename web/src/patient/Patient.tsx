// The patient's part: from "is there an account on this device?" to the five places. Loaded when somebody goes past the first screen.

import "../design/more-parts.css";
import "./patient.css";
import { useEffect, useRef, useState } from "react";
import type { Network } from "../../sdk/src/index.ts";
import { goTo, usePlace } from "../app/route.ts";
import { useWords } from "../words/words.ts";
import { Approve } from "./Approve.tsx";
import { Begin } from "./begin/Begin.tsx";
import { Recover } from "./begin/Recover.tsx";
import { Unlock } from "./begin/Unlock.tsx";
import { type Kept, keptFor } from "./device.ts";
import { Keys } from "./Keys.tsx";
import { MyCode } from "./MyCode.tsx";
import { Places } from "./Places.tsx";
import { joinNetwork, type Portal, readPortal } from "../network/portal.ts";
import { MyRecord } from "./record/MyRecord.tsx";
import { Renew } from "./Renew.tsx";
import type { Session } from "./session.ts";
import { Told } from "../parts/Told.tsx";
import { useAsync } from "../parts/useAsync.ts";
import { useIdleLock } from "../parts/useIdleLock.ts";
import { WhoCanLook } from "./WhoCanLook.tsx";
import { WhoLooked } from "./WhoLooked.tsx";

export interface Entrance {
  readonly portal: Portal;
  readonly network: Network;
  /** What stands on the card somebody came with: CODE.ORGANISATION of its link, "" when it is still to be typed; null without one. */
  readonly card: string | null;
}

export default function Patient() {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const portal = await readPortal();
    return { portal, network: await joinNetwork(portal), kept: await keptFor(portal.genesis) };
  }, []);
  if (asked.is !== "here")
    return (
      <main className="page">
        <Told asked={asked} wait={say("wait.network")} again={again}>
          {() => null}
        </Told>
      </main>
    );
  return <Door portal={asked.value.portal} network={asked.value.network} kept={asked.value.kept} again={again} />;
}

interface DoorProps {
  readonly portal: Portal;
  readonly network: Network;
  readonly kept: Kept | null;
  readonly again: () => void;
}

function Door({ portal, network, kept, again }: DoorProps) {
  const [session, setSession] = useState<Session | null>(null);
  const [place, rest] = usePlace();
  const [card, setCard] = useState(place === "claim" ? rest : null);
  useEffect(() => {
    if (place !== "claim") return;
    setCard((before) => rest || before || "");
    if (rest) goTo("claim", "", true); // a code is no address: it stays out of the history
  }, [place, rest]);
  const entrance = { portal, network, card };
  const enter = (opened: Session): void => {
    setSession(opened);
    if (place !== "approve") goTo("record", "", true);
  };
  const leave = (): void => {
    setSession(null);
    goTo("record", "", true);
    again();
  };
  useIdleLock(session !== null, leave);
  if (session !== null) return <Inside session={session} leave={leave} enter={enter} />;
  return (
    <main className="page appears" key={place}>
      {place === "recover" ? (
        <Recover entrance={entrance} kept={kept !== null} enter={enter} />
      ) : kept !== null ? (
        <Unlock entrance={entrance} kept={kept} enter={enter} />
      ) : (
        <Begin entrance={entrance} enter={enter} />
      )}
    </main>
  );
}

interface InsideProps {
  readonly session: Session;
  readonly leave: () => void;
  readonly enter: (session: Session) => void;
}

function Inside({ session, leave, enter }: InsideProps) {
  const say = useWords();
  const [place, rest] = usePlace();
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    main.current?.focus();
    scrollTo(0, 0);
  }, [place]);
  return (
    <>
      <main className="page appears" key={place} ref={main} tabIndex={-1}>
        {place === "looked" ? (
          <WhoLooked session={session} />
        ) : place === "can" ? (
          <WhoCanLook session={session} />
        ) : place === "approve" ? (
          <Approve session={session} code={rest} />
        ) : place === "keys" ? (
          <Keys session={session} leave={leave} />
        ) : place === "code" ? (
          <MyCode session={session} />
        ) : place === "renew" ? (
          <Renew session={session} enter={enter} />
        ) : place === "claim" ? (
          <p className="notice warn">{say("claim.other")}</p>
        ) : (
          <MyRecord session={session} />
        )}
      </main>
      <Places place={place} />
    </>
  );
}
