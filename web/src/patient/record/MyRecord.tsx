// My record: what matters now, then everything in time, newest first.

import { Button } from "react-aria-components/Button";
import { explain, sentence, toHex, type Waiting as WaitingEntry } from "../../../sdk/src/index.ts";
import { linkTo } from "../../app/route.ts";
import { usePreferences } from "../../app/preferences.ts";
import { entriesOf } from "../../fhir/entries.ts";
import { dayWords } from "../../words/dates.ts";
import { useWords } from "../../words/words.ts";
import type { Session } from "../session.ts";
import { Problem, Told, Waiting } from "../../parts/Told.tsx";
import { useAct, useAsync } from "../../parts/useAsync.ts";
import { WholeRecord } from "../../record/WholeRecord.tsx";
import { NotRight } from "./NotRight.tsx";

export function MyRecord({ session }: { readonly session: Session }) {
  const say = useWords();
  const [asked, again] = useAsync(async () => {
    const [{ opened, refused }, waiting] = await Promise.all([session.records(), session.owner.quarantine()]);
    return { entries: entriesOf(opened), refused: refused.size, waiting };
  }, [session]);
  const refresh = (): void => {
    session.refresh();
    again();
  };
  return (
    <div className="stack wide">
      <div className="row apart">
        <h1>{say("record.title")}</h1>
        <Button className="button quiet" onPress={refresh}>
          {say("record.refresh")}
        </Button>
      </div>
      <Told asked={asked} wait={say("record.wait")} again={refresh}>
        {({ entries, refused, waiting }) => (
          <>
            {waiting.map((one) => (
              <WaitingCard key={toHex(one.item).slice(0, 64)} waiting={one} session={session} done={refresh} />
            ))}
            {refused > 0 && <p className="notice warn">{say("record.refused", { count: refused })}</p>}
            {entries.length === 0 ? (
              <Empty />
            ) : (
              <>
                <WholeRecord
                  entries={entries}
                  below={(entry, title) => <NotRight entry={entry} title={title} session={session} />}
                />
                <a className="button full" href={linkTo("code")}>
                  {say("record.empty.code")}
                </a>
              </>
            )}
          </>
        )}
      </Told>
    </div>
  );
}

function Empty() {
  const say = useWords();
  return (
    <div className="card stack">
      <h2>{say("record.empty.title")}</h2>
      <p>{say("record.empty.text")}</p>
      <a className="button main full" href={linkTo("code")}>
        {say("record.empty.code")}
      </a>
    </div>
  );
}

interface WaitingCardProps {
  readonly waiting: WaitingEntry;
  readonly session: Session;
  readonly done: () => void;
}

/** What came from an organisation that has no permission to write: nothing of it counts until the owner takes it. */
function WaitingCard({ waiting, session, done }: WaitingCardProps) {
  const say = useWords();
  const { language } = usePreferences();
  const { busy, error, act } = useAct();
  const [signed] = useAsync(
    () => Promise.all((["accept", "reject"] as const).map((what) => session.owner.draft(waiting, what))),
    [waiting],
  );
  const { openings } = waiting.session;
  const day = openings[0]?.opening.policy.date ?? "";
  return (
    <section className="card stack">
      <h2>{say("waiting.title")}</h2>
      <p>{say("waiting.text", { count: openings.length, date: dayWords(day, language) })}</p>
      {signed.is === "here" &&
        signed.value.map((message, i) => (
          <p key={i} className="soft small">
            {sentence(explain(message), language, () => null)}
          </p>
        ))}
      {error !== null && <Problem error={error} />}
      {busy ? (
        <Waiting>{say("wait.nodes")}</Waiting>
      ) : (
        <div className="row">
          <Button className="button main" onPress={() => act(() => session.owner.accept(waiting).then(done))}>
            {say("waiting.accept")}
          </Button>
          <Button className="button danger" onPress={() => act(() => session.owner.reject(waiting).then(done))}>
            {say("waiting.reject")}
          </Button>
        </div>
      )}
    </section>
  );
}
