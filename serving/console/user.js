// One user: asked for, scored, and watched while the windows move on.

import { ask } from "./api.js";
import { announce, notice, part, sentence, show } from "./dom.js";
import { showFeatures } from "./feature_table.js";
import { clock } from "./format.js";
import { showReasons } from "./reasons.js";
import { forgetEvents, showTimeline, startTimeline } from "./timeline.js";
import { transactionOf } from "./transaction.js";
import { showVerdict } from "./verdict.js";
import { isOpen, open } from "./views.js";

const EVERY_MS = 1_000;

const now = { user: null, scored: null, live: null, turn: 0 };

export function startUser() {
  const form = part("ask");
  form.with_transaction.addEventListener("change", () => (part("transaction").hidden = !form.with_transaction.checked));
  form.addEventListener("submit", (event) => (event.preventDefault(), score()));
  part("open").addEventListener("click", () => openUser(form.user_id.value));
  addEventListener("key", () => now.user !== null && openUser(now.user));
  startTimeline();
  clear();
  const asked = new URLSearchParams(location.search).get("user_id");
  if (asked !== null) openUser(asked);
  setInterval(readAgain, EVERY_MS);
}

/** Show a user's features and events, scoring nothing. */
export async function openUser(user) {
  if (!begin(user)) return;
  await readFeatures(now.turn);
}

async function score() {
  const form = part("ask");
  if (!begin(form.user_id.value)) return;
  const turn = now.turn;
  show("verdict", notice("loading", "Scoring …"));
  try {
    const transaction = form.with_transaction.checked ? { transaction: transactionOf(form) } : {};
    const started = performance.now();
    const answer = await ask("/v1/score", { body: { user_id: now.user, explain: true, ...transaction } });
    if (turn !== now.turn) return;
    now.scored = answer;
    showVerdict(answer, performance.now() - started);
    showReasons(answer.reasons, answer.features);
    announce(`${answer.decision}, score ${answer.score.toFixed(4)}`);
  } catch (problem) {
    if (turn === now.turn) refuse(problem);
  }
  await readFeatures(turn);
}

/** Make `user` the one shown; false when the id is empty. */
function begin(user) {
  part("refused").hidden = true;
  if (user === "") {
    refuse(new Error("Give a user id."));
    part("ask").user_id.focus();
    return false;
  }
  Object.assign(now, { user, scored: null, live: null, turn: now.turn + 1 });
  part("ask").user_id.value = user;
  history.replaceState(null, "", `/?user_id=${encodeURIComponent(user)}${location.hash}`);
  open("user");
  clear("Not scored: press Score.");
  forgetEvents(user);
  show("features", notice("loading", "Reading the store …"));
  return true;
}

function clear(text = "Score a user, or open one, to see a decision.") {
  show("verdict", notice("empty", text));
  show("reasons", notice("empty", "The features that moved a score most appear here once there is one."));
  show("features", notice("empty", "A user's feature values appear here."));
  part("positions-part").hidden = true;
}

function refuse(problem) {
  part("refused").replaceChildren(...sentence(problem.message));
  part("refused").hidden = false;
  show("verdict", notice("empty", "No decision."));
}

async function readAgain() {
  if (now.user === null || !isOpen("user") || !part("live-values").checked) return;
  await readFeatures(now.turn);
}

let reading = false;

async function readFeatures(turn) {
  if (reading && now.live) return;
  reading = true;
  try {
    const answer = await ask(`/v1/users/${encodeURIComponent(now.user)}/features`);
    if (turn !== now.turn) return;
    now.live = answer;
    part("features-at").textContent = `as of ${clock(answer.as_of)} UTC${answer.known ? "" : ", not a known user"}`;
    showFeatures(answer, now.scored);
    showTimeline(answer);
  } catch (problem) {
    if (turn !== now.turn) return;
    if (now.live === null) show("features", notice("bad", problem.message));
    else part("features-at").textContent = `stopped at ${clock(now.live.as_of)} UTC: ${problem.message}`;
  } finally {
    reading = false;
  }
}
