// One screen in several steps: each begins at its top, for eyes and for the keyboard.

import { useEffect, useRef } from "react";

/** `step` names where somebody is; its first value moves nothing. */
export function useStep(step: string): void {
  const shown = useRef(step);
  useEffect(() => {
    if (shown.current === step) return;
    shown.current = step;
    document.querySelector("main")?.focus();
    scrollTo(0, 0);
  }, [step]);
}
