// A user's feature values: one table a view, a line a measure, a column a window; what changed lights up.

import { element, part, show, table } from "./dom.js";
import { grouped, words } from "./feature_names.js";
import { clock, shown } from "./format.js";

let before = { user: null, features: {} };

/** Show live values of the user's own views, and beside them what a score read besides. */
export function showFeatures(live, scored) {
  const features = { ...(scored?.features ?? {}), ...live.features };
  const changed = (name) => before.user === live.user_id && name in before.features && before.features[name] !== features[name];
  const parts = grouped(Object.keys(features)).map(([view, measures]) => {
    const isLive = Object.keys(live.features).some((name) => name.startsWith(`${view}__`));
    const note = isLive ? "" : `as scored at ${clock(scored.as_of)}`;
    return element("section", { class: "view" }, element("h3", {}, words(view), element("small", {}, note)), tableOf(view, measures, features, changed));
  });
  refresh(parts);
  before = { user: live.user_id, features };
  showPositions({ ...(scored?.positions ?? {}), ...live.positions });
}

/** Replace the tables, keeping where each was scrolled to and the focus. */
function refresh(parts) {
  const held = part("features").contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  const scrolled = new Map([...part("features").querySelectorAll(".scroll")].map((box) => [box.getAttribute("aria-label"), box.scrollLeft]));
  show("features", ...parts);
  for (const box of part("features").querySelectorAll(".scroll")) {
    box.scrollLeft = scrolled.get(box.getAttribute("aria-label")) ?? 0;
    if (box.getAttribute("aria-label") === held) box.focus({ preventScroll: true });
  }
}

function tableOf(view, measures, features, changed) {
  const windows = windowsOf(measures);
  if (windows.length === 0) {
    const rows = measures.map(([, [parsed]]) => [words(parsed.name), value(parsed.feature, features, changed)]);
    return table(words(view), ["Feature", "Value"], rows, { numeric: [1] });
  }
  const rows = measures.map(([measure, all]) => [
    words(measure),
    ...windows.map((window) => {
      const parsed = all.find((one) => one.window === window);
      return parsed ? value(parsed.feature, features, changed) : "";
    }),
  ]);
  return table(words(view), ["Measure", ...windows], rows, { numeric: windows.map((_, index) => index + 1), className: "matrix" });
}

function windowsOf(measures) {
  const windowed = measures.flatMap(([, all]) => all).filter(({ seconds }) => seconds !== null);
  const seconds = new Map(windowed.map((parsed) => [parsed.window, parsed.seconds]));
  return [...seconds].sort((one, other) => one[1] - other[1]).map(([window]) => window);
}

function value(feature, features, changed) {
  const text = shown(features[feature], feature);
  const absent = features[feature] === null;
  const marks = [changed(feature) ? "changed" : "", absent ? "absent" : "", features[feature] === 0 ? "nought" : ""];
  return element("span", { class: marks.filter(Boolean).join(" ") || null, title: `${feature} = ${features[feature]}`, data: { feature } }, text);
}

function showPositions(positions) {
  const rows = Object.entries(positions).map(([view, at]) => [words(view), offsetsOf(at)]);
  part("positions-part").hidden = rows.length === 0;
  show("positions", table("Positions", ["View", "Last offset applied, by partition"], rows));
}

const offsetsOf = (at) => Object.entries(at).map(([name, offset]) => `${name}: ${offset ?? "none"}`).join("   ") || "nothing applied";
