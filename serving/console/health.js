// The strip that is always in sight: every part, whether it works, and the alarm when one does not.

import { apiKey, ask } from "./api.js";
import { element, part, sentence, shape, show } from "./dom.js";
import { duration, number } from "./format.js";
import { alarmsOf, cellsOf } from "./health_rules.js";
import { showFreshness, showParity } from "./gauges.js";

const EVERY_MS = 1_000;
const MARKS = { good: "M2 6.5l3 3 5-7", bad: "M2 2l8 8M10 2l-8 8", warn: "M6 1v6M6 9.5v1.5", unknown: "M2 6h8" };

export function startHealth() {
  const look = async () => {
    if (!document.hidden) await refresh();
    setTimeout(look, EVERY_MS);
  };
  addEventListener("key", refresh);
  look();
}

async function refresh() {
  const [ready, status] = await Promise.all([settled("/readyz"), settled("/v1/status")]);
  show("health", ...cellsOf(ready, status, { number, duration }).map(cell));
  tellAlarms(alarmsOf(ready, status, Boolean(apiKey())));
  showFreshness(status);
  showParity(status);
  if (status.answer?.links) showLinks(status.answer.links);
}

/** {answer} or {problem}: a part that is away is a fact to show, not an exception. */
const settled = (path) => ask(path).then((answer) => ({ answer }), (problem) => ({ problem }));

function cell({ name, state, text, title }) {
  const mark = shape("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, shape("path", { d: MARKS[state] }));
  return element(
    "div",
    { class: `part ${state}`, data: { part: name.toLowerCase() }, title: title ?? null },
    element("span", { class: "lamp" }, mark),
    element("span", { class: "name" }, name),
    element("span", { class: "state" }, text),
  );
}

/** The alarm is rewritten only when it changes, so that a screen reader says it once. */
function tellAlarms(alarms) {
  const said = alarms.map(({ what, remedy }) => `${what} ${remedy}`).join("\n");
  if (part("alarm").dataset.said === said) return;
  part("alarm").dataset.said = said;
  show("alarm", ...alarms.map(({ what, remedy }) => element("p", {}, element("strong", {}, what), " ", ...sentence(remedy))));
}

function showLinks(links) {
  const given = Object.entries(links).filter(([, address]) => address);
  const wanted = [["API", "/docs"], ["Metrics", "/metrics"], ...given];
  if (part("links").dataset.said === String(wanted)) return;
  part("links").dataset.said = String(wanted);
  show("links", ...wanted.map(([name, address]) => element("a", { href: address, rel: "noreferrer" }, name)));
}
