// Why: the contributions to a score's log-odds as bars, to the right what raised it, to the left what lowered it.

import { element, notice, shape, show, table } from "./dom.js";
import { read, words } from "./feature_names.js";
import { shown } from "./format.js";

/** Show reasons as /v1/score gives them. */
export function showReasons(reasons) {
  if (reasons.length === 0) return show("reasons", notice("empty", "No reasons were given for this decision."));
  const largest = Math.max(...reasons.map((reason) => Math.abs(reason.contribution)), 1e-12);
  const list = element("ol", { class: "reasons", "aria-hidden": "true" }, ...reasons.map((reason) => line(reason, largest)));
  const rows = reasons.map((reason) => [reason.feature, shown(reason.value, reason.feature), signed(reason.contribution)]);
  const legend = element(
    "p",
    { class: "legend muted" },
    element("span", {}, element("i", { class: "key lowers" }), "lowers the risk"),
    element("span", {}, element("i", { class: "key raises" }), "raises it; the length is the exact share in the log-odds"),
  );
  const spoken = table("Reasons: feature, value, share in the log-odds", ["Feature", "Value", "Log-odds"], rows);
  return show("reasons", list, legend, element("div", { class: "unseen" }, spoken.querySelector("table")));
}

function line(reason, largest) {
  const { view, name } = read(reason.feature);
  const share = Math.abs(reason.contribution) / largest;
  return element(
    "li",
    { title: reason.feature },
    element("span", { class: "name" }, words(name), element("small", {}, reason.sentence ?? words(view))),
    element("span", { class: "value" }, shown(reason.value, reason.feature)),
    bar(reason.contribution, share),
    element("span", { class: "share" }, signed(reason.contribution)),
  );
}

function bar(contribution, share) {
  const width = share * 49;
  const side = contribution < 0 ? "lowers" : "raises";
  return shape(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", class: "bar" },
    shape("rect", { class: side, x: contribution < 0 ? 50 - width : 50, y: 1, width, height: 8 }),
    shape("rect", { class: "zero", x: 49.9, y: 0, width: 0.25, height: 10 }),
  );
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
