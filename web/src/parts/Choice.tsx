// One of a few values, as buttons side by side. The words are `NAME.title` and `NAME.VALUE`.

import { ToggleButton } from "react-aria-components/ToggleButton";
import { ToggleButtonGroup } from "react-aria-components/ToggleButtonGroup";
import { useWords } from "../words/words.ts";

interface ChoiceProps<T extends string | number> {
  readonly name: string;
  readonly values: readonly T[];
  readonly chosen: T;
  readonly choose: (value: T) => void;
}

export function Choice<T extends string | number>({ name, values, chosen, choose }: ChoiceProps<T>) {
  const say = useWords();
  return (
    <div className="stack tight">
      <h2 id={name}>{say(`${name}.title`)}</h2>
      <ToggleButtonGroup
        className="choices"
        aria-labelledby={name}
        selectionMode="single"
        disallowEmptySelection
        selectedKeys={[String(chosen)]}
        onSelectionChange={(keys) => choose(values.find((value) => keys.has(String(value))) ?? chosen)}
      >
        {values.map((value) => (
          <ToggleButton key={value} id={String(value)} className="choice">
            {say(`${name}.${value}`)}
          </ToggleButton>
        ))}
      </ToggleButtonGroup>
    </div>
  );
}
