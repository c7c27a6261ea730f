// Taking in a code that somebody shows: the camera where there is one, else pasted text.

import { type FormEvent, useState } from "react";
import { Button } from "react-aria-components/Button";
import { useWords } from "../words/words.ts";
import { canScan, Scan } from "./Scan.tsx";

interface TakeCodeProps {
  readonly text: string;
  readonly label: string;
  readonly take: (text: string) => void;
}

export function TakeCode({ text, label, take }: TakeCodeProps) {
  const say = useWords();
  const [scanning, setScanning] = useState(false);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    take(new FormData(event.currentTarget).get("code") as string);
  };
  return (
    <div className="stack">
      <p>{text}</p>
      {canScan() &&
        (scanning ? (
          <Scan found={take} />
        ) : (
          <Button className="button main full" onPress={() => setScanning(true)}>
            {say("take.scan")}
          </Button>
        ))}
      <form className="stack" onSubmit={submit}>
        <div className="field">
          <label htmlFor="code">{label}</label>
          <textarea id="code" name="code" spellCheck={false} autoComplete="off" required />
        </div>
        <Button type="submit" className="button full">
          {say("take.read")}
        </Button>
      </form>
    </div>
  );
}
