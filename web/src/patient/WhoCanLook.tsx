// Who can look: grants in words, what each shows, and one press that ends it.

import { Button } from "react-aria-components/Button";
import { explain, grantMessage, makeBody, sentence, toHex } from "../../sdk/src/index.ts";
import { linkTo } from "../app/route.ts";
import { type Language, usePreferences } from "../app/preferences.ts";
import { entriesOf, type Entry } from "../fhir/entries.ts";
import { within } from "../fhir/glance.ts";
import { momentWords } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import { Preview } from "./Preview.tsx";
import type { GivenGrant, Session, Who } from "./session.ts";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";

export function WhoCanLook({ session }: { readonly session: Session }) {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const [grants, { opened }] = await Promise.all([session.grants(), session.records()]);
    const who = await session.whoAre(grants.flatMap(({ body, state }) => body?.grantee ?? state?.payer ?? []));
    return { grants, who, entries: entriesOf(opened), nowMs: session.network.now() };
  }, [session]);
  return (
    <div className="stack wide">
      <h1>{say("can.title")}</h1>
      <Told asked={asked} wait={say("can.wait")} again={again}>
        {({ grants, who, entries, nowMs }) => {
          const alive = grants.filter((grant) => isAlive(grant, nowMs));
          const over = grants.filter((grant) => !isAlive(grant, nowMs));
          return (
            <>
              {alive.length === 0 && <Nobody />}
              <ul className="stack">
                {alive.map((grant) => (
                  <li key={toHex(grant.grantId)}>
                    <GrantCard grant={grant} who={who} entries={entries} session={session} done={again} />
                  </li>
                ))}
              </ul>
              {over.length > 0 && <Over grants={over} who={who} />}
            </>
          );
        }}
      </Told>
    </div>
  );
}

function isAlive({ state }: GivenGrant, nowMs: number): boolean {
  return state !== null && state.revokedHeight === null && nowMs < state.expiresAtMs;
}

function Nobody() {
  const say = useWords();
  return (
    <div className="card stack">
      <p>{say("can.nobody")}</p>
      <a className="button full" href={linkTo("approve")}>
        {say("place.approve")}
      </a>
    </div>
  );
}

interface GrantCardProps {
  readonly grant: GivenGrant;
  readonly who: ReadonlyMap<string, Who>;
  readonly entries: readonly Entry[];
  readonly session: Session;
  readonly done: () => void;
}

function GrantCard({ grant, who, entries, session, done }: GrantCardProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const { body, state } = grant;
  const end = (): void => act(() => session.owner.revoke(grant.grantId, body?.nonce).then(done));
  return (
    <article className="card stack">
      <Named grant={grant} who={who} />
      {body === null ? (
        <p>{say("can.from-log", { until: momentWords(state!.expiresAtMs, language) })}</p>
      ) : (
        <>
          <p>{sentence(explain(grantMessage(body)), language, (subject) => who.get(toHex(subject))?.person || null)}</p>
          <Preview entries={within(entries, body.dateFrom, body.dateTo)} />
        </>
      )}
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say("can.ending")}</Waiting>
      ) : (
        <>
          <Button className="button danger full" onPress={end}>
            {say("can.end")}
          </Button>
          <p className="soft small">{ending(grant, who, session, language)}</p>
        </>
      )}
    </article>
  );
}

/** What ending it signs, said from such bytes. */
function ending({ grantId, body, state }: GivenGrant, who: ReadonlyMap<string, Who>, session: Session, language: Language): string {
  const signed = makeBody(session.network.chain, "grant.revoke", { grantId }, null, session.network.light.height);
  const { person = "", organisation = "" } = who.get(toHex(body?.grantee ?? state!.payer)) ?? {};
  return sentence(explain(signed.bytes), language, () => person || organisation || null);
}

function Named({ grant, who }: Pick<GrantCardProps, "grant" | "who">) {
  const say = useWords();
  const subject = grant.body?.grantee ?? grant.state!.payer;
  const { person = "", organisation = "" } = who.get(toHex(subject)) ?? {};
  return (
    <div>
      <h2 className="who">{person || organisation || say("who.unnamed", { id: toHex(subject).slice(0, 8) })}</h2>
      {person && <p>{organisation}</p>}
    </div>
  );
}

function Over({ grants, who }: { readonly grants: readonly GivenGrant[]; readonly who: ReadonlyMap<string, Who> }) {
  const say = useWords();
  const { language } = usePreferences();
  return (
    <details>
      <summary>{say("can.over", { count: grants.length })}</summary>
      <ul className="stack">
        {grants.map((grant) => (
          <li key={toHex(grant.grantId)} className="card stack tight">
            <Named grant={grant} who={who} />
            <p>
              {grant.state!.revokedHeight === null
                ? say("can.expired", { until: momentWords(grant.state!.expiresAtMs, language) })
                : say("can.revoked")}
            </p>
          </li>
        ))}
      </ul>
    </details>
  );
}
