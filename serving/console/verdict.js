// The decision: a word, a score on its scale, and what it was made with.

import { element, notice, shape, show } from "./dom.js";
import { dateTime, short } from "./format.js";
import { thresholdsOf } from "./models.js";

const MARKS = { approve: "M2 7l4 4 7-9", review: "M7.5 2v6M7.5 11v1.5", decline: "M3 3l9 9M12 3l-9 9" };

/** A decision as a badge that does not rest on its colour alone. */
export function badge(decision) {
  const mark = shape("svg", { viewBox: "0 0 15 15", width: 13, height: 13, "aria-hidden": "true" }, shape("path", { d: MARKS[decision] ?? "" }));
  return element("span", { class: `badge ${decision}` }, mark, decision);
}

/** Show an answer of /v1/score that took `ms` milliseconds as the browser saw it. */
export function showVerdict(answer, ms) {
  const { name, version } = answer.model;
  show(
    "verdict",
    element("p", { class: "headline" }, badge(answer.decision), element("strong", { id: "score-value" }, answer.score.toFixed(4))),
    scale(answer.score, thresholdsOf(name)),
    ...(answer.degraded ? [notice("warn", "Degraded: the online store was away, so this rests on the request alone.")] : []),
    element(
      "dl",
      {},
      ...fact("User", answer.known ? short(answer.user_id) : `${short(answer.user_id)} (not known: an empty history)`),
      ...fact("Model", `${name}, version ${version}`),
      ...fact("As of", `${dateTime(answer.as_of)} UTC`),
      ...fact("Answered in", `${ms.toFixed(0)} ms, seen from here`),
      ...fact("Request", short(answer.request_id, 20)),
    ),
  );
}

const fact = (name, value) => [element("dt", {}, name), element("dd", {}, value)];

/** The score between 0 and 1, over the ranges that the model's thresholds make. */
function scale(score, thresholds) {
  const { review, decline } = thresholds ?? { review: 1, decline: 1 };
  const ranges = thresholds ? [["approve", 0, review], ["review", review, decline], ["decline", decline, 1]] : [["unknown", 0, 1]];
  const told = thresholds ? `review from ${review}, decline from ${decline}` : "thresholds not known here";
  return element(
    "div",
    { class: "scale" },
    shape(
      "svg",
      { viewBox: "0 0 100 12", preserveAspectRatio: "none", role: "img", "aria-label": `Score ${score.toFixed(4)} of 1; ${told}` },
      ...ranges.map(([range, from, to]) => shape("rect", { class: range, x: from * 100, y: 4, width: Math.max(to - from, 0) * 100, height: 5 })),
      shape("rect", { class: "needle", x: Math.min(score * 100, 99.2), y: 0, width: 0.8, height: 12 }),
    ),
    element("p", { class: "muted" }, told),
  );
}
