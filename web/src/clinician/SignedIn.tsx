// Who is signed in, and where keys are.

import { Button } from "react-aria-components/Button";
import { useWords } from "../words/words.ts";
import type { Desk } from "./desk.ts";

interface SignedInProps {
  readonly desk: Desk;
  readonly leave: () => void;
}

export function SignedIn({ desk, leave }: SignedInProps) {
  const say = useWords();
  const { name, powers, credentialId } = desk.me;
  return (
    <div className="stack wide">
      <h1>{say("desk.me")}</h1>
      <section className="card stack tight">
        <h2 className="who">{name}</h2>
        <p>{desk.organisation}</p>
        <p>{say("me.may", { powers: powers.map((power) => say(`power.${power}`)).join(say("list.and")) })}</p>
        <p className="code soft">{say("me.credential", { id: credentialId.slice(0, 16) })}</p>
      </section>
      <WhereKeysAre />
      <Button className="button full" onPress={leave}>
        {say("me.leave")}
      </Button>
      <p className="soft small">{say("me.idle")}</p>
    </div>
  );
}

/** Said as it is: the house keeps the clinician's key, the patient's never leaves the patient. */
export function WhereKeysAre() {
  const say = useWords();
  return (
    <details>
      <summary>{say("keys-at.title")}</summary>
      <ul className="stack tight said">
        {["keys-at.yours", "keys-at.theirs", "keys-at.token"].map((key) => (
          <li key={key}>{say(key)}</li>
        ))}
      </ul>
    </details>
  );
}
