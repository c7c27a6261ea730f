// The shell: header with its two switches, the first screen, and the patient's part when somebody wants it.

import { lazy, Suspense, useEffect, useState } from "react";
import mark from "../design/mark.svg";
import { Switch } from "../design/Switch.tsx";
import { CLINICIAN, COMMON, ERRORS, needWords, PATIENT, useWords } from "../words/words.ts";
import { Fallen } from "./Fallen.tsx";
import { prefer, usePreferences } from "./preferences.ts";
import { usePlace } from "./route.ts";
import { Welcome } from "./Welcome.tsx";
import { hasAccountHere } from "./here.ts";

/** Nobody waits for them, but who is offline later still reads why something failed. */
const needErrorWords = (): void => void needWords(ERRORS).catch(() => {});

const Patient = lazy(async () => {
  const [part] = await Promise.all([import("../patient/Patient.tsx"), needWords(COMMON), needWords(PATIENT)]);
  needErrorWords();
  return part;
});

const Clinic = lazy(async () => {
  const [part] = await Promise.all([import("../clinician/Clinic.tsx"), needWords(COMMON), needWords(CLINICIAN)]);
  needErrorWords();
  return part;
});

export function Shell() {
  const say = useWords();
  const [place, rest] = usePlace();
  const [here, setHere] = useState<boolean | null>(null);
  useEffect(() => {
    void hasAccountHere().then(setHere);
  }, []);
  useEffect(() => {
    document.title = say("brand.title");
  });
  const wanted = place !== "" || here === true;
  return (
    <Fallen>
      <div id="frame" className="frame">
        <Top home={place === "clinic" ? "#/clinic" : "#/"} />
        {wanted ? (
          <Suspense fallback={<main className="page waiting">{say("wait.opening")}</main>}>
            {place === "clinic" ? <Clinic rest={rest} /> : <Patient />}
          </Suspense>
        ) : here === null ? (
          <main className="page" />
        ) : (
          <Welcome />
        )}
      </div>
    </Fallen>
  );
}

/** `home`: where the mark leads, within the part somebody is in. */
function Top({ home }: { readonly home: string }) {
  const say = useWords();
  const { language, elder } = usePreferences();
  const other = language === "en" ? "zh-CN" : "en";
  return (
    <header className="top">
      <a className="brand" href={home}>
        <img src={mark} alt="" />
        {say("brand.name")}
      </a>
      <div className="row">
        <Switch isSelected={elder} onChange={(on) => prefer({ elder: on })}>
          {say("top.elder")}
        </Switch>
        <button type="button" className="button quiet" lang={other} onClick={() => prefer({ language: other })}>
          {other === "en" ? "English" : "中文"}
        </button>
      </div>
    </header>
  );
}
