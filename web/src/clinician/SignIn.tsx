// Signing in: at which organisation, with the token its gateway knows its staff by, as which of them.
//
// One token for all of an organisation's staff is what gateways have today (docs/adr/0008); the page says so.

import { type FormEvent, useState } from "react";
import { Button } from "react-aria-components/Button";
import { fromHex, stateKey } from "../../sdk/src/index.ts";
import { gatewaysOf, type GatewayStatus } from "../network/portal.ts";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";
import { useStep } from "../parts/useStep.ts";
import { useWords } from "../words/words.ts";
import type { Entrance } from "./Clinic.tsx";
import { Desk } from "./desk.ts";
import { Gateway, type StaffMember } from "./gateway.ts";
import { WhereKeysAre } from "./SignedIn.tsx";

interface SignInProps {
  readonly entrance: Entrance;
  readonly enter: (desk: Desk) => void;
}

interface Known {
  readonly gateway: Gateway;
  readonly staff: readonly StaffMember[];
}

export function SignIn({ entrance, enter }: SignInProps) {
  const say = useWords();
  const [known, setKnown] = useState<Known | null>(null);
  const [asked, again] = useAsync(() => organisationsOf(entrance), [entrance]);
  useStep(known === null ? "token" : "who");
  return (
    <section className="stack wide">
      <div className="stack">
        <h1>{say("signin.title")}</h1>
        <p>{say("signin.text")}</p>
      </div>
      {known !== null ? (
        <WhoAreYou entrance={entrance} known={known} enter={enter} back={() => setKnown(null)} />
      ) : (
        <Told asked={asked} wait={say("signin.wait")} again={again}>
          {(organisations) => <TokenForm organisations={organisations} done={setKnown} />}
        </Told>
      )}
      <WhereKeysAre />
    </section>
  );
}

interface Organisation {
  readonly url: string;
  /** As the chain names it. */
  readonly name: string;
}

async function organisationsOf({ portal, network }: Entrance): Promise<readonly Organisation[]> {
  const found: readonly GatewayStatus[] = await gatewaysOf(portal);
  const ids = found.map(({ org_id }) => fromHex(org_id));
  const chain = await network.reader(...ids.map(stateKey.organisation));
  return found.flatMap(({ url }, i) => {
    const name = chain.organisation(ids[i]!)?.certificate.name;
    return name === undefined ? [] : [{ url, name }];
  });
}

interface TokenFormProps {
  readonly organisations: readonly Organisation[];
  readonly done: (known: Known) => void;
}

function TokenForm({ organisations, done }: TokenFormProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    act(async () => {
      const gateway = new Gateway(given.get("gateway") as string, given.get("token") as string);
      done({ gateway, staff: await gateway.staff() });
    });
  };
  if (organisations.length === 0) return <p className="notice warn">{say("signin.nobody")}</p>;
  return (
    <form className="stack" onSubmit={submit} autoComplete="off">
      <div className="field">
        <label htmlFor="gateway">{say("signin.organisation")}</label>
        <select id="gateway" name="gateway">
          {organisations.map(({ url, name }) => (
            <option key={url} value={url}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor="token">{say("signin.token")}</label>
        <input id="token" name="token" type="password" autoComplete="off" aria-describedby="token-help" required />
        <p className="soft small" id="token-help">
          {say("signin.token.help")}
        </p>
      </div>
      {error !== null && <Problem error={error} />}
      <Button type="submit" className="button main full" isDisabled={busy}>
        {say("signin.go")}
      </Button>
    </form>
  );
}

interface WhoAreYouProps {
  readonly entrance: Entrance;
  readonly known: Known;
  readonly enter: (desk: Desk) => void;
  readonly back: () => void;
}

function WhoAreYou({ entrance: { portal, network }, known: { gateway, staff }, enter, back }: WhoAreYouProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const certified = staff.filter(({ powers }) => powers.length > 0);
  return (
    <div className="stack">
      <h2>{say("signin.who")}</h2>
      <p className="soft small">{say("signin.honest")}</p>
      {error !== null && <Problem error={error} />}
      {certified.length === 0 && <p className="notice warn">{say("signin.none")}</p>}
      {busy ? (
        <Waiting>{say("wait.network")}</Waiting>
      ) : (
        certified.map(({ name, credential_id, powers }) => (
          <Button
            key={credential_id}
            className="button full two-lines"
            onPress={() => act(async () => enter(await Desk.open(portal, network, gateway, credential_id)))}
          >
            {name}
            <span className="small">{powers.map((power) => say(`power.${power}`)).join(say("list.and"))}</span>
          </Button>
        ))
      )}
      <Button className="button quiet full" onPress={back}>
        {say("signin.back")}
      </Button>
    </div>
  );
}
