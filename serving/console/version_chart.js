// Average precision, version by version, oldest first; the champion is filled.

import { shape } from "./dom.js";

const HEIGHT = 90;
const STEP = 44;
const LEFT = 34;

/** points: {name, value, isChampion}, newest first; null when fewer than two versions have a figure. */
export function versionChart(points) {
  if (points.length < 2) return null;
  const ordered = [...points].reverse();
  const most = Math.max(...ordered.map(({ value }) => value), 0.01);
  const width = LEFT + ordered.length * STEP;
  const place = (value) => 8 + (HEIGHT - 30) * (1 - value / most);
  const told = ordered.map(({ name, value }) => `version ${name}: ${value.toFixed(3)}`).join(", ");
  return shape(
    "svg",
    { class: "versions", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": `Average precision. ${told}` },
    shape("line", { class: "grid", x1: LEFT - 8, x2: width, y1: place(0), y2: place(0) }),
    shape("text", { class: "tick", x: 0, y: place(0) + 4 }, "0"),
    shape("text", { class: "tick", x: 0, y: place(most) + 4 }, most.toFixed(2)),
    ...ordered.flatMap(({ name, value, isChampion }, index) => [
      shape("line", { class: "stem", x1: LEFT + index * STEP + 10, x2: LEFT + index * STEP + 10, y1: place(value), y2: place(0) }),
      shape("circle", { class: isChampion ? "champion" : "", cx: LEFT + index * STEP + 10, cy: place(value), r: 5 }),
      shape("text", { class: "tick middle", x: LEFT + index * STEP + 10, y: HEIGHT - 6 }, name),
    ]),
  );
}
