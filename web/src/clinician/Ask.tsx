// Asking a patient for access: terms and reason, then the code they take in. The page waits for their answer.

import { type FormEvent, useEffect, useState } from "react";
import { Button } from "react-aria-components/Button";
import { linkTo } from "../app/route.ts";
import { DAY_MS, LASTS } from "../network/codes.ts";
import { Choice } from "../parts/Choice.tsx";
import { Problem, Told, Waiting } from "../parts/Told.tsx";
import { useAct, useAsync } from "../parts/useAsync.ts";
import { useStep } from "../parts/useStep.ts";
import { today } from "../words/dates.ts";
import { useWords } from "../words/words.ts";
import type { Desk } from "./desk.ts";
import type { Ask as Wished, Person } from "./gateway.ts";
import { CLINIC, toScreen } from "./links.ts";
import { FIRST_DAY } from "./PersonScreen.tsx";
import { RequestCode } from "./RequestCode.tsx";

const PURPOSES = ["treatment", "second-opinion", "payment"] as const;
/** How far back, in years; 0 is everything. The words are `span.*`. */
const SPANS = [0, 5, 1] as const;
const MAX_REASON_CHARS = 120;
/** Between two looks at whether the patient has answered. */
const LOOK_EVERY_MS = 2_000;

interface AskProps {
  readonly desk: Desk;
  /** "" for somebody who is not enrolled. */
  readonly patientId: string;
}

export function Ask({ desk, patientId }: AskProps) {
  const say = useWords();
  const [asked, again] = useAsync(async () => (patientId === "" ? null : (await desk.caseOf(patientId)).person), [desk, patientId]);
  const [made, setMade] = useState<Made | null>(null);
  useStep(made === null ? "terms" : "code");
  return (
    <Told asked={asked} wait={say("desk.wait")} again={again}>
      {(person) => (
        <div className="stack wide">
          <div>
            <h1>{say("ask.title")}</h1>
            <p className="lead">{person?.label ?? say("ask.not-enrolled")}</p>
          </div>
          {made === null ? <Terms desk={desk} person={person} done={setMade} /> : <Waits desk={desk} person={person} made={made} />}
        </div>
      )}
    </Told>
  );
}

interface Made {
  readonly request: string;
  readonly days: number;
  readonly reason: string;
}

interface TermsProps {
  readonly desk: Desk;
  readonly person: Person | null;
  readonly done: (made: Made) => void;
}

function Terms({ desk, person, done }: TermsProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const [purpose, setPurpose] = useState<(typeof PURPOSES)[number]>("treatment");
  const [days, setDays] = useState(7);
  const [years, setYears] = useState<(typeof SPANS)[number]>(0);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const reason = (new FormData(event.currentTarget).get("reason") as string).trim();
    const nowMs = desk.network.now();
    const wished: Wished = {
      credential_id: desk.me.credentialId,
      patient_id: person?.patient_id ?? "",
      purpose,
      date_from: years === 0 ? FIRST_DAY : today(nowMs - years * 365 * DAY_MS),
      date_to: today(nowMs + days * DAY_MS),
      lasts_days: days,
      reason,
    };
    act(async () => done({ request: await desk.gateway.ask(wished), days, reason }));
  };
  return (
    <form className="stack wide" onSubmit={submit} autoComplete="off">
      <Choice name="purpose" values={PURPOSES} chosen={purpose} choose={setPurpose} />
      <Choice name="span" values={SPANS} chosen={years} choose={setYears} />
      <Choice name="lasts" values={LASTS} chosen={days} choose={setDays} />
      <div className="field">
        <label htmlFor="reason">{say("ask.reason")}</label>
        <input id="reason" name="reason" maxLength={MAX_REASON_CHARS} required aria-describedby="reason-help" />
        <p className="soft small" id="reason-help">
          {say("ask.reason.help")}
        </p>
      </div>
      {error !== null && <Problem error={error} />}
      <Button type="submit" className="button main full" isDisabled={busy}>
        {say("ask.go")}
      </Button>
    </form>
  );
}

interface WaitsProps {
  readonly desk: Desk;
  readonly person: Person | null;
  readonly made: Made;
}

function Waits({ desk, person, made }: WaitsProps) {
  const say = useWords();
  const grantId = useAnswer(desk, made.request);
  const name = person?.label ?? say("ask.them");
  if (grantId !== "")
    return (
      <div className="stack">
        <p className="notice good" role="status">
          {say("ask.given", { name })}
        </p>
        <a className="button main full" href={toScreen("chart", grantId)}>
          {say("chart.go")}
        </a>
      </div>
    );
  return (
    <div className="stack">
      <RequestCode {...made} name={name} />
      <Waiting>{say("ask.wait")}</Waiting>
      <a className="button full" href={person === null ? linkTo(CLINIC) : toScreen("person", person.patient_id)}>
        {say("ask.later")}
      </a>
    </div>
  );
}

/** The grant that answers a request; "" until there is one. A gateway that cannot be reached meanwhile is asked again. */
function useAnswer(desk: Desk, request: string): string {
  const [grantId, setGrantId] = useState("");
  useEffect(() => {
    let wanted = true;
    let timer: ReturnType<typeof setTimeout>;
    const look = async (): Promise<void> => {
      const requests = await desk.gateway.requests().catch(() => []);
      const found = requests.find((one) => one.request === request)?.grant_id ?? "";
      if (!wanted) return;
      if (found !== "") setGrantId(found);
      else timer = setTimeout(() => void look(), LOOK_EVERY_MS);
    };
    void look();
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [desk, request]);
  return grantId;
}
