// The platform's own checkbox, said as a switch: it stands in the shell, which has no room for react-aria.

import type { ReactNode } from "react";

interface SwitchProps {
  readonly isSelected: boolean;
  readonly onChange: (on: boolean) => void;
  readonly children: ReactNode;
}

export function Switch({ isSelected, onChange, children }: SwitchProps) {
  return (
    <label className="switch">
      <input type="checkbox" role="switch" checked={isSelected} onChange={(event) => onChange(event.target.checked)} />
      {children}
    </label>
  );
}
