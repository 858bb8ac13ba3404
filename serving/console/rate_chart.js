// Decisions in each of the last sixty seconds, stacked by what was decided.

import { shape } from "./dom.js";

const SECONDS = 60;
const KINDS = ["approve", "review", "decline"];
const HEIGHT = 44;

/** records: {kind, record, at}, newest first, `at` in milliseconds; returns an SVG element. */
export function rateChart(records, nowMs) {
  const counts = Array.from({ length: SECONDS }, () => ({ approve: 0, review: 0, decline: 0 }));
  for (const { kind, record, at } of records) {
    const ago = Math.floor((nowMs - at) / 1e3);
    if (kind === "decision" && ago < SECONDS && record.decision in counts[ago]) counts[ago][record.decision] += 1;
  }
  const totals = counts.map((count) => KINDS.reduce((sum, kind) => sum + count[kind], 0));
  const most = Math.max(...totals, 1);
  const all = totals.reduce((sum, total) => sum + total, 0);
  return shape(
    "svg",
    { class: "rate", viewBox: `0 0 ${SECONDS * 10} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${all} decisions in the last minute, at most ${most} in a second` },
    ...counts.flatMap((count, ago) => column(count, ago, most)),
    shape("line", { class: "grid", x1: 0, x2: SECONDS * 10, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
  );
}

function column(count, ago, most) {
  let floor = HEIGHT - 1;
  return KINDS.filter((kind) => count[kind] > 0).map((kind) => {
    const height = (count[kind] / most) * (HEIGHT - 4);
    floor -= height;
    return shape("rect", { class: kind, x: (SECONDS - 1 - ago) * 10 + 1, y: floor, width: 8, height });
  });
}
