// Somebody comes with a card: the record a hospital kept for them becomes theirs. The code stays on this device; what is signed is shown.

import { type FormEvent, useState } from "react";
import { Button } from "react-aria-components/Button";
import { cardKey, claimMessage, explain, fromHex, sentence, type SignedClaim, tokenMessage } from "../../../sdk/src/index.ts";
import { usePreferences } from "../../app/preferences.ts";
import { deskOf, type GatewayStatus, gatewaysOf } from "../../network/portal.ts";
import { Problem, Told, Waiting } from "../../parts/Told.tsx";
import { useAct, useAsync } from "../../parts/useAsync.ts";
import { useWords } from "../../words/words.ts";
import type { Entrance } from "../Patient.tsx";
import type { Session } from "../session.ts";

/** Digits of the organisation's id in a card's link. */
const ORG_DIGITS = 8;

interface TakeOverProps {
  readonly entrance: Entrance;
  readonly open: () => Promise<Session>;
  readonly enter: (session: Session) => void;
  readonly back: () => void;
}

/** An organisation with a name that the chain vouches for. */
interface Keeper {
  readonly id: string;
  readonly url: string;
  readonly name: string;
}

interface Ready {
  readonly session: Session;
  readonly keeper: Keeper;
  readonly signed: SignedClaim;
}

export function TakeOver({ entrance, open, enter, back }: TakeOverProps) {
  const say = useWords();
  const [ready, setReady] = useState<Ready | null>(null);
  const [taken, setTaken] = useState<Session | null>(null);
  const [asked, again] = useAsync(async () => {
    const session = await open();
    return { session, keepers: await keepersOf(session, await gatewaysOf(entrance.portal)) };
  }, []);
  if (ready !== null && taken !== null) return <Writing {...ready} session={taken} enter={enter} />;
  if (ready !== null) return <Sign {...ready} taken={setTaken} back={() => setReady(null)} />;
  return (
    <section className="stack wide">
      <h1>{say("claim.title")}</h1>
      <p>{say("claim.text")}</p>
      <Told asked={asked} wait={say("wait.network")} again={again}>
        {({ session, keepers }) => <Code card={entrance.card ?? ""} session={session} keepers={keepers} ready={setReady} />}
      </Told>
      <Button className="button full" onPress={back}>
        {say("claim.without")}
      </Button>
    </section>
  );
}

async function keepersOf(session: Session, found: readonly GatewayStatus[]): Promise<readonly Keeper[]> {
  const who = await session.whoAre(found.map((one) => fromHex(one.org_id)));
  return found
    .map(({ org_id, url }) => ({ id: org_id, url, name: who.get(org_id)?.organisation ?? "" }))
    .filter(({ name }) => name !== "");
}

interface CodeProps {
  readonly card: string;
  readonly session: Session;
  readonly keepers: readonly Keeper[];
  readonly ready: (ready: Ready) => void;
}

/** A link names the organisation; who types the code says which one it was. */
function Code({ card, session, keepers, ready }: CodeProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const [typed, setTyped] = useState<string | null>(null);
  const [printed = "", digits = ""] = card.split(".");
  const named = keepers.filter(({ id }) => digits.length === ORG_DIGITS && id.startsWith(digits.toLowerCase()));
  const offered = named.length > 0 ? named : keepers;
  const choose = async (code: string, keeper: Keeper): Promise<void> =>
    ready({ session, keeper, signed: await session.prepareClaim(code, keeper.id) });
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const code = new FormData(event.currentTarget).get("code") as string;
    act(async () => {
      await cardKey(code); // a slip of the hand is noticed before anybody is asked
      if (offered.length === 1) await choose(code, offered[0]!);
      else setTyped(code);
    });
  };
  if (typed !== null)
    return (
      <div className="stack">
        <h2>{say("claim.who")}</h2>
        {error !== null && <Problem error={error} />}
        {offered.map((keeper) => (
          <Button key={keeper.id} className="button full" isDisabled={busy} onPress={() => act(() => choose(typed, keeper))}>
            {keeper.name}
          </Button>
        ))}
      </div>
    );
  return (
    <form className="stack" onSubmit={submit} autoComplete="off">
      <div className="field">
        <label htmlFor="card-code">{say("claim.code")}</label>
        <input
          id="card-code"
          name="code"
          defaultValue={printed}
          autoComplete="off"
          autoCapitalize="characters"
          spellCheck={false}
          aria-describedby="card-help"
          required
        />
        <p className="soft small" id="card-help">
          {say("claim.help")}
        </p>
      </div>
      {error !== null && <Problem error={error} />}
      <Button type="submit" className="button main full" isDisabled={busy || offered.length === 0}>
        {say("claim.next")}
      </Button>
    </form>
  );
}

interface SignProps extends Ready {
  readonly taken: (session: Session) => void;
  readonly back: () => void;
}

function Sign({ session, keeper, signed, taken, back }: SignProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  if (busy) return <Waiting>{say("claim.wait", { name: keeper.name })}</Waiting>;
  return (
    <section className="stack wide">
      <h1>{say("claim.title")}</h1>
      <div className="card stack">
        <p className="soft small">{say("approve.signed")}</p>
        <p className="sentence" data-testid="sentence">
          {sentence(explain(claimMessage(signed.claim)), language, () => keeper.name)}
        </p>
        <p className="soft small">{say("claim.honest")}</p>
      </div>
      {error !== null && <Problem error={error} />}
      <Button
        className="button main full"
        onPress={() => act(async () => taken(await session.takeOver(signed, deskOf(keeper.url))))}
      >
        {say("claim.sign")}
      </Button>
      <Button className="button full" onPress={back}>
        {say("claim.later")}
      </Button>
    </section>
  );
}

interface WritingProps {
  readonly session: Session;
  readonly keeper: Keeper;
  readonly enter: (session: Session) => void;
}

/** The account is theirs whatever is answered here. */
function Writing({ session, keeper, enter }: WritingProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const [asked, again] = useAsync(() => session.token(keeper.id), [session]);
  const allow = (): void =>
    act(async () => {
      await session.letWrite(keeper.id, deskOf(keeper.url));
      enter(session);
    });
  return (
    <section className="stack wide">
      <h1>{say("claim.yours")}</h1>
      <p className="notice good">{say("claim.kept")}</p>
      <h2>{say("claim.write.title", { name: keeper.name })}</h2>
      <Told asked={asked} wait={say("wait.opening")} again={again}>
        {({ token }) => (
          <p className="sentence">{sentence(explain(tokenMessage(session.network.chain, token)), language, () => keeper.name)}</p>
        )}
      </Told>
      {error !== null && <Problem error={error} />}
      <Button className="button main full" isDisabled={busy} onPress={allow}>
        {say("claim.write.yes")}
      </Button>
      <Button className="button full" isDisabled={busy} onPress={() => enter(session)}>
        {say("claim.write.none")}
      </Button>
    </section>
  );
}
