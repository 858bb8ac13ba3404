// Ages on a line: now at its right end, the past to the left, by the logarithm of the age or linearly.

const MARKS = [["1 m", 60], ["10 m", 600], ["1 h", 3_600], ["6 h", 21_600], ["1 d", 86_400], ["7 d", 604_800], ["30 d", 2_592_000], ["90 d", 7_776_000]];
const SOFT_S = 20;
const LEFT = 46;
const RIGHT = 190;
const RIGHT_OF_NARROW = 84;
const NARROW = 560;

/** kind: "log", or the seconds that a linear axis spans; longest: seconds of the longest window; width: pixels. */
export function axisOf(kind, longest, width) {
  const span = kind === "log" ? longest * 1.4 : Number(kind);
  const right = Math.max(width - (width < NARROW ? RIGHT_OF_NARROW : RIGHT), LEFT + 80);
  const share = kind === "log" ? (age) => Math.log1p(age / SOFT_S) / Math.log1p(span / SOFT_S) : (age) => age / span;
  return {
    width,
    left: LEFT,
    right,
    isNarrow: width < NARROW,
    span,
    x: (age) => right - (right - LEFT) * Math.min(Math.max(share(Math.max(age, 0)), 0), 1),
    marks: spread(MARKS.filter(([, age]) => age <= span && (kind === "log" || age > span / 12)), (age) => (right - LEFT) * share(age)),
  };
}

/** Marks that do not come closer than a label is wide. */
function spread(marks, place) {
  const kept = [];
  for (const mark of marks) if (kept.length === 0 || place(mark[1]) - place(kept.at(-1)[1]) > 34) kept.push(mark);
  return kept;
}
