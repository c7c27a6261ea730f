// Nobody at the keyboard: what is open locks itself.

import { useEffect, useRef } from "react";

/** Without a touch or a key for so long. */
const IDLE_LOCK_MS = 15 * 60_000;

export function useIdleLock(unlocked: boolean, leave: () => void): void {
  const locking = useRef(leave);
  locking.current = leave;
  useEffect(() => {
    if (!unlocked) return;
    let timer = setTimeout(() => locking.current(), IDLE_LOCK_MS);
    const touched = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => locking.current(), IDLE_LOCK_MS);
    };
    const signs = ["pointerdown", "keydown"] as const;
    for (const sign of signs) addEventListener(sign, touched);
    return () => {
      clearTimeout(timer);
      for (const sign of signs) removeEventListener(sign, touched);
    };
  }, [unlocked]);
}
