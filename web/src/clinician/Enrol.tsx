// Enrolling somebody: their own code lets this organisation write into their record; who they are is what they said at the desk.

import { type FormEvent, useState } from "react";
import { Button } from "react-aria-components/Button";
import { encodeAs, Refused, type SignedToken, SignedTokenShape, toHex } from "../../sdk/src/index.ts";
import { usePreferences } from "../app/preferences.ts";
import { personResource } from "../fhir/notes.ts";
import { readHello } from "../network/codes.ts";
import { TakeCode } from "../parts/TakeCode.tsx";
import { Problem, Waiting } from "../parts/Told.tsx";
import { useAct } from "../parts/useAsync.ts";
import { useStep } from "../parts/useStep.ts";
import { momentWords, today } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import type { Desk } from "./desk.ts";
import { toScreen } from "./links.ts";

export function Enrol({ desk }: { readonly desk: Desk }) {
  const say = useWords();
  const [token, setToken] = useState<SignedToken | null>(null);
  const { error, act } = useAct();
  useStep(token === null ? "code" : "who");
  const take = (text: string): void =>
    act(async () => {
      const read = readHello(text);
      if (toHex(read.token.orgId) !== desk.orgId) throw new Refused("token.invalid");
      setToken(read);
    });
  return (
    <div className="stack wide">
      <h1>{say("enrol.title")}</h1>
      {error !== null && <Problem error={error} />}
      {token === null ? (
        <TakeCode text={say("enrol.text")} label={say("enrol.code")} take={take} />
      ) : (
        <WhoIsIt desk={desk} token={token} />
      )}
    </div>
  );
}

function WhoIsIt({ desk, token }: { readonly desk: Desk; readonly token: SignedToken }) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const patient = personResource(crypto.randomUUID(), (given.get("name") as string).trim(), given.get("born") as string);
    act(async () => {
      const id = await desk.gateway.enrol(patient, toHex(encodeAs(SignedTokenShape, token)));
      location.assign(toScreen("person", id));
    });
  };
  return (
    <form className="stack" onSubmit={submit} autoComplete="off">
      <p className="notice good">
        {say("enrol.means", { organisation: desk.organisation, until: momentWords(token.token.expiresMs, language) })}
      </p>
      <div className="field">
        <label htmlFor="name">{say("enrol.name")}</label>
        <input id="name" name="name" autoComplete="off" maxLength={200} required />
      </div>
      <div className="field">
        <label htmlFor="born">{say("enrol.born")}</label>
        <input id="born" name="born" type="date" min="1880-01-01" max={today(desk.network.now())} required />
      </div>
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say("enrol.wait")}</Waiting>
      ) : (
        <Button type="submit" className="button main full">
          {say("enrol.go")}
        </Button>
      )}
    </form>
  );
}
