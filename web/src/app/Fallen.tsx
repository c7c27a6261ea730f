// When the program itself is wrong: say so, and offer to begin again. Nothing about what was on the screen is shown or sent.

import { Component, type ReactNode } from "react";
import { useWords } from "../words/words.ts";

export class Fallen extends Component<{ readonly children: ReactNode }, { readonly fallen: boolean }> {
  override state = { fallen: false };

  static getDerivedStateFromError(): { fallen: boolean } {
    return { fallen: true };
  }

  override render(): ReactNode {
    return this.state.fallen ? <Sorry /> : this.props.children;
  }
}

function Sorry() {
  const say = useWords();
  return (
    <main className="page stack">
      <h1>{say("fallen.title")}</h1>
      <p>{say("fallen.text")}</p>
      <a className="button main" href="./">
        {say("fallen.again")}
      </a>
    </main>
  );
}
