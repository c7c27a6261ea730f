// The page. What everybody loads first is here: words, the frame, the first screen. Keys and records come with `patient`, when needed.

import "./design/tokens.css";
import "./design/base.css";
import "./design/parts.css";
import "./design/frame.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Shell } from "./app/Shell.tsx";
import { startPreferences } from "./app/preferences.ts";
import { startWords } from "./words/words.ts";

const { language } = startPreferences();
await startWords(language);
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Shell />
  </StrictMode>,
);
