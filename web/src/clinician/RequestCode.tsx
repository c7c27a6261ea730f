// A request as the patient takes it in: a picture for their camera, or text. It opens nothing by itself.

import { askCode } from "../network/codes.ts";
import { ShownCode } from "../parts/ShownCode.tsx";
import { useWords } from "../words/words.ts";

interface RequestCodeProps {
  readonly request: string;
  readonly days: number;
  readonly reason: string;
  readonly name: string;
}

export function RequestCode({ request, days, reason, name }: RequestCodeProps) {
  const say = useWords();
  return (
    <div className="stack">
      <p>{say("ask.show", { name })}</p>
      <ShownCode text={askCode(request, { days, reason })} label={say("ask.picture", { name })} />
    </div>
  );
}
