// The first screen of somebody who has no account on this device.

import { useWords } from "../words/words.ts";
import { linkTo } from "./route.ts";

export function Welcome() {
  const say = useWords();
  return (
    <main className="page stack wide appears">
      <div className="stack">
        <h1>{say("welcome.title")}</h1>
        <p className="lead">{say("welcome.lead")}</p>
      </div>
      <div className="stack tight">
        <a className="button main full" href={linkTo("begin")}>
          {say("welcome.create")}
        </a>
        <a className="button full" href={linkTo("recover")}>
          {say("welcome.recover")}
        </a>
      </div>
      <ul className="stack tight">
        {["welcome.point.keys", "welcome.point.you", "welcome.point.log"].map((key) => (
          <li key={key} className="card">
            {say(key)}
          </li>
        ))}
      </ul>
      <a className="button quiet" href={linkTo("clinic")}>
        {say("welcome.clinic")}
      </a>
    </main>
  );
}
