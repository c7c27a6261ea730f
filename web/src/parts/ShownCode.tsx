// A code to show to somebody: as a picture for their camera, to copy, and as text.

import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { encode as qrOf } from "uqr";
import { useWords } from "../words/words.ts";

interface ShownCodeProps {
  readonly text: string;
  /** Says what the picture is, to who does not see it. */
  readonly label: string;
}

export function ShownCode({ text, label }: ShownCodeProps) {
  const say = useWords();
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return (
    <>
      <Qr text={text} label={label} />
      <Button className="button main full" onPress={() => void copy()}>
        {copied ? say("copy.done") : say("code.copy")}
      </Button>
      <details>
        <summary>{say("code.text")}</summary>
        <p className="code" data-testid="code">
          {text}
        </p>
      </details>
    </>
  );
}

function Qr({ text, label }: { readonly text: string; readonly label: string }) {
  const { data, size } = qrOf(text, { ecc: "L", border: 0 });
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : []))).join("");
  return (
    <svg className="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shapeRendering="crispEdges">
      <path d={path} fill="currentColor" />
    </svg>
  );
}
