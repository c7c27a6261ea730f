// The account itself: an organisation registers two digests on the chain and pays for it. It learns nothing else.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { toHex } from "../../../sdk/src/index.ts";
import { usePreferences } from "../../app/preferences.ts";
import { useWords } from "../../words/words.ts";
import type { Entrance } from "../Patient.tsx";
import { askToOpen, type GatewayStatus, gatewaysOf } from "../../network/portal.ts";
import type { Session } from "../session.ts";
import { Problem, Told, Waiting } from "../../parts/Told.tsx";
import { useAct, useAsync } from "../../parts/useAsync.ts";
import { TakeOver } from "./TakeOver.tsx";

interface OpenAccountProps {
  readonly entrance: Entrance;
  readonly open: () => Promise<Session>;
  readonly enter: (session: Session) => void;
}

export function OpenAccount({ entrance, open, enter }: OpenAccountProps) {
  const say = useWords();
  const [asked, again] = useAsync(() => gatewaysOf(entrance.portal), []);
  const [withCard, setWithCard] = useState(entrance.card !== null);
  if (withCard) return <TakeOver entrance={entrance} open={open} enter={enter} back={() => setWithCard(false)} />;
  return (
    <section className="stack wide">
      <h1>{say("open.title")}</h1>
      <p>{say("open.text")}</p>
      <Told asked={asked} wait={say("wait.network")} again={again}>
        {(found) => <Offers offers={found.filter((one) => one.welcomes)} open={open} enter={enter} again={again} />}
      </Told>
      <Button className="button full" onPress={() => setWithCard(true)}>
        {say("claim.have")}
      </Button>
    </section>
  );
}

interface OffersProps {
  readonly offers: readonly GatewayStatus[];
  readonly open: () => Promise<Session>;
  readonly enter: (session: Session) => void;
  readonly again: () => void;
}

function Offers({ offers, open, enter, again }: OffersProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const [chosen, setChosen] = useState("");
  const ask = ({ url, name, name_zh }: GatewayStatus): void => {
    setChosen(language === "en" ? name : name_zh);
    act(async () => {
      const session = await open();
      const { keys } = session.owner;
      if ((await session.owner.compartment()) === null) {
        await askToOpen(url, toHex(keys.ownerDigest), toHex(keys.recoveryDigest));
      }
      await session.publish();
      enter(session);
    });
  };
  if (busy) return <Waiting>{say("open.wait", { name: chosen })}</Waiting>;
  return (
    <div className="stack">
      {error !== null && <Problem error={error} />}
      {offers.map((one) => (
        <Button key={one.url} className="button main full" onPress={() => ask(one)}>
          {say("open.with", { name: language === "en" ? one.name : one.name_zh })}
        </Button>
      ))}
      {offers.length === 0 && (
        <>
          <p className="notice warn">{say("open.nobody")}</p>
          <Button className="button full" onPress={again}>
            {say("problem.again")}
          </Button>
        </>
      )}
    </div>
  );
}
