// How waiting and failing look: always the same, always with a way on.

import type { ReactNode } from "react";
import { Button } from "react-aria-components/Button";
import { HceError } from "../../sdk/src/index.ts";
import { useErrorWords, useWords } from "../words/words.ts";
import type { Asked } from "./useAsync.ts";

export function Waiting({ children }: { readonly children: ReactNode }) {
  return (
    <p className="waiting" role="status">
      {children}
    </p>
  );
}

/** An error in words; its code in small print, for whoever helps. */
export function Problem({ error, again }: { readonly error: unknown; readonly again?: () => void }) {
  const say = useWords();
  const code = error instanceof HceError ? error.code : navigator.onLine ? "bug" : "node.unreachable"; // a part of the page was asked for
  const words = useErrorWords(code);
  return (
    <div className="notice bad stack tight" role="alert">
      <p>{words ?? say("problem.unknown")}</p>
      <p className="small">{say("problem.code", { code })}</p>
      {again && (
        <Button className="button" onPress={again}>
          {say("problem.again")}
        </Button>
      )}
    </div>
  );
}

interface ToldProps<T> {
  readonly asked: Asked<T>;
  readonly wait: string;
  readonly again: () => void;
  readonly children: (value: T) => ReactNode;
}

export function Told<T>({ asked, wait, again, children }: ToldProps<T>) {
  if (asked.is === "waiting") return <Waiting>{wait}</Waiting>;
  if (asked.is === "failed") return <Problem error={asked.error} again={again} />;
  return <>{children(asked.value)}</>;
}
