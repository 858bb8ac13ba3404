// The picture of a measure: events by age on top, below them a bar for each window with its value at this instant.

import { shape } from "./dom.js";
import { words } from "./feature_names.js";
import { duration, shown } from "./format.js";
import { trace } from "./traces.js";

const LANE = 150;
const BASE = LANE - 4;
const ROW = 26;
const TRACE = { width: 86, height: 12 };
const ADDITIVE = ["count", "sum"];
const MOST_DOTS = 600;

/** chart: {view, measure, windows, events, headAge, features}; returns an SVG element as wide as the axis. */
export function drawn(chart, axis) {
  const height = LANE + 22 + chart.windows.length * ROW + 4;
  const told = chart.windows.map((window) => `${window.window}: ${valueOf(chart, window)}`).join(", ");
  return shape(
    "svg",
    {
      class: "windows", viewBox: `0 0 ${axis.width} ${height}`, width: axis.width, height, role: "img",
      "aria-label": `${words(chart.view)}, ${words(chart.measure)}, by window: ${told}`,
    },
    ...grid(axis, height),
    ...headPart(chart, axis),
    ...blocks(chart, axis),
    ...dots(chart, axis),
    ...bars(chart, axis),
    shape("line", { class: "now", x1: axis.right, x2: axis.right, y1: 0, y2: height - 4 }),
    shape("text", { class: "tick", x: axis.right + 8, y: LANE + 14 }, "now"),
    axis.isNarrow ? null : shape("text", { class: "tick end", x: axis.width - 2, y: LANE + 14 }, "last 90 readings"),
  );
}

function grid(axis, height) {
  return axis.marks.flatMap(([label, age]) => [
    shape("line", { class: "grid", x1: axis.x(age), x2: axis.x(age), y1: 0, y2: height - 4 }),
    shape("text", { class: "tick middle", x: axis.x(age), y: LANE + 14 }, label),
  ]);
}

function headPart({ headAge }, axis) {
  if (headAge === null) return [];
  const x = axis.x(headAge);
  return [shape("rect", { class: "head", x, y: 0, width: axis.right - x, height: LANE })];
}

/** What lies between one window's edge and the next, where windows add up: the tiles, seen from outside. */
function blocks({ windows, features, headAge }, axis) {
  if (!ADDITIVE.includes(windows[0].how)) return [];
  const bands = windows.map((window, index) => {
    const nearer = windows[index - 1];
    return { from: nearer?.seconds ?? 0, to: window.seconds, amount: features[window.feature] - (nearer ? features[nearer.feature] : 0), feature: window.feature };
  });
  const most = Math.max(...bands.map(({ amount }) => amount), 1);
  return bands.filter(({ amount, from, to }) => amount > 0 && from < axis.span && !(headAge !== null && to <= headAge)).map(({ from, to, amount, feature }) => {
    const [x, end] = [axis.x(to), axis.x(Math.max(from, headAge ?? 0))];
    const height = 8 + (BASE - 34) * (amount / most);
    return shape(
      "g",
      { class: "block" },
      shape("rect", { x: x + 1, y: BASE - height, width: Math.max(end - x - 2, 1), height, rx: 2 }),
      end - x > 34 ? shape("text", { class: "middle", x: (x + end) / 2, y: BASE - height - 5 }, shown(amount, feature)) : null,
      shape("title", {}, `${shown(amount, feature)} between ${duration(from)} and ${duration(to)} ago`),
    );
  });
}

function dots({ events }, axis) {
  return events.filter(({ age }) => age >= 0 && age <= axis.span).slice(-MOST_DOTS).map((event) => {
    const x = axis.x(event.age);
    const y = BASE - 12 - (LANE - 44) * sizeOf(event);
    return shape(
      "g",
      { class: event.isIn ? "event in" : "event" },
      shape("line", { x1: x, x2: x, y1: y, y2: BASE }),
      shape("circle", { cx: x, cy: y, r: event.isIn ? 4 : 3 }),
      shape("title", {}, titleOf(event)),
    );
  });
}

/** How high a dot stands: by the logarithm of its largest amount, 0 up to one unit, 1 from 100,000 on. */
function sizeOf({ columns }) {
  const amounts = Object.entries(columns).filter(([name, value]) => name.endsWith("_cents") && typeof value === "number");
  const largest = Math.max(100, ...amounts.map(([, value]) => value));
  return Math.min(Math.log10(largest / 100) / 5, 1);
}

const titleOf = ({ age, columns }) =>
  `${duration(age)} ago: ` + Object.entries(columns).map(([name, value]) => (value === true ? words(name) : `${words(name)} ${shown(value, name)}`)).join(", ");

function bars(chart, axis) {
  return chart.windows.map((window, index) => {
    const y = LANE + 24 + index * ROW;
    const x = axis.x(window.seconds);
    const held = chart.features[window.feature];
    return shape(
      "g",
      { class: held ? "window" : "window hollow", "data-window": window.window },
      shape("line", { class: "grid", x1: axis.left, x2: axis.right, y1: y + 12.5, y2: y + 12.5 }),
      shape("rect", { x, y: y + 5, width: Math.max(axis.right - x, 2), height: ROW - 11, rx: 3 }),
      window.seconds > axis.span ? shape("path", { class: "beyond", d: `M${x + 7} ${y + 8}l-4 4.5l4 4.5` }) : null,
      shape("text", { class: "label", x: axis.left - 8, y: y + 17 }, window.window),
      shape("text", { class: "amount", x: axis.right + 8, y: y + 17 }, valueOf(chart, window)),
      axis.isNarrow ? null : trace(window.feature, { x: axis.width - TRACE.width - 2, y: y + 6, ...TRACE }),
      shape("title", {}, `${window.feature} = ${held}`),
    );
  });
}

const valueOf = ({ features }, window) => shown(features[window.feature], window.feature);
