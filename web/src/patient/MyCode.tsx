// The code a clinic needs to write into this record: which feed, and that this organisation may. It opens nothing.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { explain, fromHex, sentence, tokenMessage } from "../../sdk/src/index.ts";
import { usePreferences } from "../app/preferences.ts";
import { useWords } from "../words/words.ts";
import { helloCode } from "../network/codes.ts";
import { gatewaysOf } from "../network/portal.ts";
import type { Session } from "./session.ts";
import { ShownCode } from "../parts/ShownCode.tsx";
import { Told } from "../parts/Told.tsx";
import { useAsync } from "../parts/useAsync.ts";

export function MyCode({ session }: { readonly session: Session }) {
  const say = useWords();
  const [chosen, setChosen] = useState<string | null>(null);
  const [asked, again] = useAsync(async () => {
    const found = await gatewaysOf(session.portal);
    const who = await session.whoAre(found.map((one) => fromHex(one.org_id)));
    return found
      .map((one) => ({ id: one.org_id, name: who.get(one.org_id)?.organisation ?? "" }))
      .filter(({ name }) => name !== "");
  }, [session]);
  return (
    <div className="stack wide">
      <h1>{say("code.title")}</h1>
      <Told asked={asked} wait={say("wait.network")} again={again}>
        {(organisations) => {
          const organisation = organisations.find(({ id }) => id === chosen);
          return organisation !== undefined ? (
            <Code session={session} {...organisation} back={() => setChosen(null)} />
          ) : (
            <div className="stack">
              <p>{say("code.who")}</p>
              {organisations.map(({ id, name }) => (
                <Button key={id} className="button full" onPress={() => setChosen(id)}>
                  {name}
                </Button>
              ))}
            </div>
          );
        }}
      </Told>
    </div>
  );
}

interface CodeProps {
  readonly session: Session;
  readonly id: string;
  readonly name: string;
  readonly back: () => void;
}

function Code({ session, id, name, back }: CodeProps) {
  const say = useWords();
  const { language } = usePreferences();
  const [asked, again] = useAsync(async () => {
    const signed = await session.token(id);
    return { code: helloCode(signed), explained: explain(tokenMessage(session.network.chain, signed.token)) };
  }, [session, id]);
  return (
    <Told asked={asked} wait={say("wait.opening")} again={again}>
      {({ code, explained }) => (
        <div className="stack">
          <p>{say("code.show", { name })}</p>
          <ShownCode text={code} label={say("code.picture", { name })} />
          <p className="notice">
            {sentence(explained, language, () => name)} {say("code.means")}
          </p>
          <Button className="button full" onPress={back}>
            {say("code.other")}
          </Button>
        </div>
      )}
    </Told>
  );
}
