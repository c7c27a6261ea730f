// How this device opens the account from now on: a passkey where there is one, else a passphrase.

import { type FormEvent, useEffect, useState } from "react";
import { Button } from "react-aria-components/Button";
import { Refused } from "../../../sdk/src/index.ts";
import type { Language } from "../../app/preferences.ts";
import { useWords } from "../../words/words.ts";
import { keepWithPasskey, keepWithPassphrase, keptFor } from "../device.ts";
import { mayHavePasskey } from "../passkey.ts";
import { Problem, Waiting } from "../../parts/Told.tsx";
import { useAct } from "../../parts/useAsync.ts";

export const MIN_PASSPHRASE_CHARS = 8;

interface DeviceLockProps {
  readonly genesis: string;
  readonly words: string;
  readonly language: Language;
  /** Whether what was locked here before may go; else another tab may have locked an account meanwhile. */
  readonly replaces: boolean;
  readonly done: () => void;
}

export function DeviceLock({ genesis, words, language, replaces, done }: DeviceLockProps) {
  const say = useWords();
  const { busy, error, act } = useAct();
  const [passkey, setPasskey] = useState<boolean | null>(null);
  useEffect(() => {
    void mayHavePasskey().then(setPasskey);
  }, []);
  const requireRoom = async (): Promise<void> => {
    if (!replaces && (await keptFor(genesis)) !== null) throw new Refused("device.taken");
  };
  const withPasskey = (): void =>
    act(async () => {
      await requireRoom();
      if (await keepWithPasskey(genesis, words, language, say("lock.label"))) done();
      else {
        setPasskey(false);
        throw new Refused("passkey.no_secret");
      }
    });
  return (
    <section className="stack wide">
      <h1>{say("lock.title")}</h1>
      <p>{say("lock.text")}</p>
      {error !== null && <Problem error={error} />}
      {passkey === true && (
        <>
          <Button className="button main full" isDisabled={busy} onPress={withPasskey}>
            {say("lock.passkey")}
          </Button>
          <p className="soft">{say("lock.or")}</p>
        </>
      )}
      {passkey !== null && (
        <PassphraseForm
          busy={busy}
          main={passkey === false}
          keep={(passphrase) =>
            act(async () => {
              await requireRoom();
              await keepWithPassphrase(genesis, words, language, passphrase);
              done();
            })
          }
        />
      )}
      {busy && <Waiting>{say("lock.wait")}</Waiting>}
    </section>
  );
}

interface PassphraseFormProps {
  readonly busy: boolean;
  readonly main: boolean;
  readonly keep: (passphrase: string) => void;
}

function PassphraseForm({ busy, main, keep }: PassphraseFormProps) {
  const say = useWords();
  const [fault, setFault] = useState<string | null>(null);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const [first, second] = [given.get("first") as string, given.get("second") as string];
    if (first.length < MIN_PASSPHRASE_CHARS) setFault(say("lock.short", { count: MIN_PASSPHRASE_CHARS }));
    else if (first !== second) setFault(say("lock.differ"));
    else keep(first);
  };
  return (
    <form className="stack" onSubmit={submit} autoComplete="off">
      <div className="field">
        <label htmlFor="first">{say("lock.passphrase")}</label>
        <input id="first" name="first" type="password" autoComplete="new-password" aria-describedby="first-help" required />
        <p className="soft small" id="first-help">
          {say("lock.help", { count: MIN_PASSPHRASE_CHARS })}
        </p>
      </div>
      <div className="field">
        <label htmlFor="second">{say("lock.again")}</label>
        <input id="second" name="second" type="password" autoComplete="new-password" required />
      </div>
      {fault !== null && (
        <p className="notice warn" role="alert">
          {fault}
        </p>
      )}
      <Button type="submit" className={main ? "button main full" : "button full"} isDisabled={busy}>
        {say("lock.keep")}
      </Button>
    </form>
  );
}
