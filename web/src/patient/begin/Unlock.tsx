// An account is on this device: open it.

import type { FormEvent } from "react";
import { Button } from "react-aria-components/Button";
import { linkTo } from "../../app/route.ts";
import { useWords } from "../../words/words.ts";
import { type Kept, wordsOf } from "../device.ts";
import type { Entrance } from "../Patient.tsx";
import { Session } from "../session.ts";
import { Problem, Waiting } from "../../parts/Told.tsx";
import { useAct } from "../../parts/useAsync.ts";
import { useState } from "react";
import { OpenAccount } from "./OpenAccount.tsx";

interface UnlockProps {
  readonly entrance: Entrance;
  readonly kept: Kept;
  readonly enter: (session: Session) => void;
}

export function Unlock({ entrance, kept, enter }: UnlockProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const [unopened, setUnopened] = useState<Session | null>(null);
  const open = (passphrase: string): void =>
    act(async () => {
      const session = await Session.open(entrance.portal, entrance.network, await wordsOf(kept, passphrase));
      if (!session.opened) setUnopened(session);
      else {
        await session.publish();
        enter(session);
      }
    });
  if (unopened !== null) return <OpenAccount entrance={entrance} open={() => Promise.resolve(unopened)} enter={enter} />;
  return (
    <section className="stack wide">
      <h1>{say("unlock.title")}</h1>
      <UnlockForm kept={kept} busy={busy} open={open} />
      {busy && <Waiting>{say("unlock.wait")}</Waiting>}
      {error !== null && <Problem error={error} />}
      <a className="button full" href={linkTo("recover")}>
        {say("unlock.forgot")}
      </a>
    </section>
  );
}

interface UnlockFormProps {
  readonly kept: Kept;
  readonly busy: boolean;
  readonly open: (passphrase: string) => void;
}

/** The passphrase, or a press that asks the passkey. */
export function UnlockForm({ kept, busy, open }: UnlockFormProps) {
  const say = useWords();
  if (kept.lock.how === "passkey")
    return (
      <Button className="button main full" isDisabled={busy} onPress={() => open("")}>
        {say("unlock.passkey")}
      </Button>
    );
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    open(new FormData(event.currentTarget).get("passphrase") as string);
  };
  return (
    <form className="stack" onSubmit={submit}>
      <div className="field">
        <label htmlFor="passphrase">{say("unlock.passphrase")}</label>
        <input id="passphrase" name="passphrase" type="password" autoComplete="current-password" required />
      </div>
      <Button type="submit" className="button main full" isDisabled={busy}>
        {say("unlock.open")}
      </Button>
    </form>
  );
}
