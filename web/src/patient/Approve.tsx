// A request for access: read from a code, turned into a grant, shown as the sentence its bytes say, and only then given.

import { useEffect, useState } from "react";
import { Button } from "react-aria-components/Button";
import { type AccessRequest, explain, grantMessage, HceError, type MadeGrant, sentence, toHex } from "../../sdk/src/index.ts";
import { goTo, linkTo } from "../app/route.ts";
import { usePreferences } from "../app/preferences.ts";
import { entriesOf } from "../fhir/entries.ts";
import { within } from "../fhir/glance.ts";
import { today } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import { DAY_MS, LASTS, readRequest, readWish, type Wish } from "../network/codes.ts";
import { Preview } from "./Preview.tsx";
import { Choice } from "../parts/Choice.tsx";
import { TakeCode } from "../parts/TakeCode.tsx";
import type { Session, Who } from "./session.ts";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";

/** How far back it reaches, in years; 0 is all that was asked for. The words are `reach.*`. */
const REACHES = [0, 1, 5];

interface ApproveProps {
  readonly session: Session;
  readonly code: string;
}

export function Approve({ session, code }: ApproveProps) {
  const say = useWords();
  const [asked, setAsked] = useState<{ readonly request: AccessRequest; readonly wish: Wish } | null>(null);
  const [given, setGiven] = useState(false);
  const { error, act } = useAct();
  const take = (text: string): void => act(async () => setAsked({ request: readRequest(text), wish: readWish(text) }));
  useEffect(() => {
    if (code === "") return;
    take(code);
    goTo("approve", "", true);
  }, [code]);
  if (given) return <Given />;
  return (
    <div className="stack wide">
      <h1>{say("approve.title")}</h1>
      {error !== null && <Problem error={error} />}
      {asked === null ? (
        <TakeCode text={say("approve.text")} label={say("approve.code")} take={take} />
      ) : (
        <Asked {...asked} session={session} drop={() => setAsked(null)} done={() => setGiven(true)} />
      )}
    </div>
  );
}

interface AskedProps {
  readonly request: AccessRequest;
  readonly wish: Wish;
  readonly session: Session;
  readonly drop: () => void;
  readonly done: () => void;
}

function Asked({ request, wish, session, drop, done }: AskedProps) {
  const say = useWords();
  const [days, setDays] = useState(wish.days || 7);
  const [years, setYears] = useState(0);
  const [left, setLeft] = useState(false);
  const reach = (nowMs: number): string => {
    if (years === 0) return request.dateFrom;
    const since = today(nowMs - years * 365 * DAY_MS);
    return since > request.dateFrom ? since : request.dateFrom;
  };
  const [asked, again] = useAsync(async () => {
    const dateFrom = reach(session.network.now());
    const made = await session.owner.prepareGrant(request, {
      lastsMs: days * DAY_MS,
      dateFrom,
      dateTo: request.dateTo,
      mode: request.mode,
    });
    const [who, { opened }] = await Promise.all([session.whoAre([request.grantee]), session.records()]);
    return { made, who, entries: within(entriesOf(opened), dateFrom, request.dateTo) };
  }, [request, days, years]);
  return (
    <div className="stack wide">
      {wish.reason && <p className="notice">{say("ask.said", { reason: wish.reason })}</p>}
      <Choice name="lasts" values={LASTS} chosen={days} choose={setDays} />
      <Choice name="reach" values={REACHES} chosen={years} choose={setYears} />
      <Told asked={asked} wait={say("approve.wait")} again={again}>
        {({ made, who, entries }) => (
          <>
            <Sentence made={made} who={who} />
            <Preview entries={entries} />
            <Give made={made} request={request} session={session} leaves={() => setLeft(true)} done={done} />
          </>
        )}
      </Told>
      {left ? (
        <a className="button full" href={linkTo("can")}>
          {say("given.see")}
        </a>
      ) : (
        <Button className="button full" onPress={drop}>
          {say("approve.refuse")}
        </Button>
      )}
    </div>
  );
}

/** Said from the bytes that are signed, by the SDK: nothing on this screen words it. */
function Sentence({ made, who }: { readonly made: MadeGrant; readonly who: ReadonlyMap<string, Who> }) {
  const say = useWords();
  const { language } = usePreferences();
  const { person = "", organisation = "" } = who.get(toHex(made.body.grantee)) ?? {};
  const nameOf = (): string | null => person || organisation || null;
  return (
    <section className="card stack">
      <div>
        <h2 className="who">{person || organisation}</h2>
        {person && <p>{organisation}</p>}
      </div>
      <p className="soft small">{say("approve.signed")}</p>
      <p className="sentence" data-testid="sentence">
        {sentence(explain(grantMessage(made.body)), language, nameOf)}
      </p>
      <p className="soft small">{say("approve.honest")}</p>
    </section>
  );
}

interface GiveProps {
  readonly made: MadeGrant;
  readonly request: AccessRequest;
  readonly session: Session;
  /** What is signed is on its way: from now on it is ended, not refused. */
  readonly leaves: () => void;
  readonly done: () => void;
}

function Give({ made, request, session, leaves, done }: GiveProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const give = (): void =>
    act(async () => {
      await session.remember({ grantId: made.grantId, body: made.body });
      leaves();
      await session.owner.leave(made, request);
      await session.owner.waitGranted(made);
      done();
    });
  if (busy) return <Waiting>{say("approve.giving")}</Waiting>;
  return (
    <>
      {error !== null && <Problem error={error} />}
      {error instanceof HceError && error.code === "grant.not_final" && <p className="notice warn">{say("approve.left")}</p>}
      <Button className="button main full" onPress={give}>
        {say("approve.give")}
      </Button>
    </>
  );
}

function Given() {
  const say = useWords();
  return (
    <div className="stack wide">
      <h1>{say("given.title")}</h1>
      <p className="notice good" role="status">
        {say("given.text")}
      </p>
      <a className="button main full" href={linkTo("can")}>
        {say("given.see")}
      </a>
    </div>
  );
}
