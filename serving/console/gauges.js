// Freshness and parity: how far the online values lag the log, and whether the two agree.

import { element, notice, shape, show, table } from "./dom.js";
import { words } from "./feature_names.js";
import { ABSENT, dateTime, duration, number } from "./format.js";
import { lagOf } from "./health_rules.js";

const KEPT = 60;
const lags = [];

/** Show lag over the last minute, delays, and each view's positions. */
export function showFreshness(status) {
  const lag = lagOf(status);
  lags.push(lag);
  if (lags.length > KEPT) lags.shift();
  if (!status.answer) return show("freshness", notice("bad", status.problem.message));
  const folds = status.answer.folds ?? [];
  const delay = folds[0]?.freshness_ms;
  return show(
    "freshness",
    folds.length === 0 ? notice("bad", "No fold runs: nothing is applied.") : null,
    element(
      "div",
      { class: "figures" },
      figure("behind", lag === null ? ABSENT : number(lag), "records"),
      figure("median", delay ? `≤ ${duration(delay.p50 / 1e3)}` : ABSENT, "log to store"),
      figure("p99", delay?.p99 ? `≤ ${duration(delay.p99 / 1e3)}` : ABSENT, "log to store"),
      figure("applied", folds.length === 0 ? ABSENT : number(folds.reduce((sum, fold) => sum + (fold.applied_events ?? 0), 0)), "events"),
    ),
    spark(lags),
    viewTable(status.answer.views ?? {}),
  );
}

const figure = (name, value, unit) =>
  element("div", { class: "figure-box" }, element("span", { class: "name" }, name), element("strong", {}, value), element("span", { class: "muted" }, unit));

/** The lag of the last minute as a line; a gap where no fold told. */
function spark(values) {
  const most = Math.max(...values.map((value) => value ?? 0), 1);
  const place = (value, index) => `${((index + KEPT - values.length) / (KEPT - 1)) * 200} ${36 - (value / most) * 32}`;
  const path = values.map((value, index) => (value === null ? "" : `${index === 0 || values[index - 1] === null ? "M" : "L"}${place(value, index)}`)).join("");
  return shape(
    "svg",
    { class: "spark", viewBox: "0 0 200 38", preserveAspectRatio: "none", role: "img", "aria-label": `Records behind in the last minute, at most ${most}` },
    shape("line", { class: "grid", x1: 0, x2: 200, y1: 36, y2: 36 }),
    shape("path", { d: path || "M0 0" }),
  );
}

function viewTable(views) {
  const rows = Object.entries(views).map(([view, { lag_records: lag }]) => [words(view), lag === null ? ABSENT : number(lag)]);
  return rows.length === 0 ? null : table("Records each view lacks", ["View", "Behind"], rows, { numeric: [1] });
}

/** Show the last parity run: a reader that knows no program's own words shows its plain figures. */
export function showParity(status) {
  if (!status.answer) return show("parity", notice("bad", status.problem.message));
  const { parity } = status.answer;
  if (!parity) return show("parity", notice("empty", "Not measured yet: `make parity` recomputes logged answers from the event log."));
  const plain = Object.entries(parity).filter(([, value]) => ["number", "string"].includes(typeof value));
  const good = !parity.mismatches;
  return show(
    "parity",
    element("p", { class: `headline ${good ? "agree" : "differ"}` }, good ? "Online and offline agree" : `${number(parity.mismatches)} values differ`),
    table("Last parity run", ["", ""], plain.map(([name, value]) => [words(name), written(value)]), { numeric: [1] }),
  );
}

const written = (value) => (typeof value === "number" ? number(value) : /^\d{4}-\d\d-\d\dT/.test(value) ? `${dateTime(value)} UTC` : value);
