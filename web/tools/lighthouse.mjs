// What Lighthouse says of the portal's first page on a phone: `node tools/lighthouse.mjs FOLDER [URL]`, with `npm install lighthouse` done in
// FOLDER and a portal running. It is no dependency of this one: it is large, and talks to nobody but the page. Prints, as JSON, the median
// score of each category over the runs and what was found; fails below the bounds. The machine should do nothing else meanwhile.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const BOUNDS = { performance: 95, accessibility: 100, "best-practices": 95, seo: 95 };
const RUNS = 3;
const CHROMIUM = "/usr/bin/chromium";

const [folder, url = "http://localhost:7180/"] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write("usage: node tools/lighthouse.mjs FOLDER [URL]\n");
  process.exit(2);
}
const found = createRequire(join(resolve(folder), "any.js"));
const load = async (name) => import(pathToFileURL(found.resolve(name)).href);
const { default: lighthouse } = await load("lighthouse");
const { launch } = await load("chrome-launcher");

async function run() {
  const chrome = await launch({ chromePath: CHROMIUM, chromeFlags: ["--headless=new", "--no-sandbox"] });
  try {
    const options = { port: chrome.port, output: "json", logLevel: "error", onlyCategories: Object.keys(BOUNDS) };
    return (await lighthouse(url, options)).lhr;
  } finally {
    chrome.kill();
  }
}

const scored = (report, name) => Math.round(report.categories[name].score * 100);
const middle = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const reports = [];
for (let done = 0; done < RUNS; done++) reports.push(await run());
const scores = Object.fromEntries(Object.keys(BOUNDS).map((name) => [name, middle(reports.map((one) => scored(one, name)))]));
const named = [
  "first-contentful-paint",
  "largest-contentful-paint",
  "total-blocking-time",
  "cumulative-layout-shift",
  "speed-index",
];
const figures = Object.fromEntries(named.map((name) => [name, middle(reports.map((one) => one.audits[name].numericValue))]));
const audits = Object.values(reports.at(-1).audits);
const faults = audits.filter(({ score, scoreDisplayMode: mode }) => mode !== "informative" && score !== null && score < 0.9);
const version = reports[0].lighthouseVersion;
const shown = faults.map(({ id, title, displayValue = "" }) => `${id}: ${title} ${displayValue}`.trim());
process.stdout.write(`${JSON.stringify({ lighthouse: version, url, scores, figures, faults: shown }, null, 1)}\n`);
process.exitCode = Object.entries(BOUNDS).some(([name, bound]) => scores[name] < bound) ? 1 : 0;
