// What is decided and alerted right now, newest first, and how much of it there is.

import { follow } from "./api.js";
import { element, notice, part, show, table } from "./dom.js";
import { clock, money, short, shown } from "./format.js";
import { rateChart } from "./rate_chart.js";
import { openUser } from "./user.js";
import { badge } from "./verdict.js";
import { isOpen, open } from "./views.js";

const KEPT = 500;
const SHOWN = 100;
const RETRY_MS = 2_000;
const BREAK = "kill $(cat $DATA_DIR/run/fold.pid)\nmake stream ONLY=fold";

const records = [];
const now = { paused: false, state: "connecting …", dirty: true, ending: new AbortController() };

export function startStream() {
  part("break").textContent = BREAK;
  part("pause").addEventListener("click", pause);
  part("stream-filter").addEventListener("change", () => draw());
  addEventListener("view", () => draw());
  addEventListener("key", () => now.ending.abort());
  setInterval(() => isOpen("live") && now.dirty && !now.paused && draw(), 250);
  setInterval(() => isOpen("live") && show("rate", rateChart(records, Date.now())), 1_000);
  listen();
}

function pause() {
  now.paused = !now.paused;
  part("pause").setAttribute("aria-pressed", String(now.paused));
  part("pause").textContent = now.paused ? "Go on" : "Pause";
  draw();
}

/** Follow the stream for ever; it is opened again when it ends, and a stream that is not there is said to be. */
async function listen() {
  for (;;) {
    now.ending = new AbortController();
    try {
      tell("live");
      await follow("/v1/live", take, now.ending.signal);
      tell("the stream ended; opening it again …");
    } catch (problem) {
      if (problem.name !== "AbortError") tell(`not live: ${problem.message}`);
    }
    await new Promise((resume) => setTimeout(resume, RETRY_MS));
  }
}

function tell(state) {
  now.state = state;
  part("stream-state").textContent = state;
}

function take(kind, record) {
  const identity = `${kind} ${record?.request_id ?? record?.alert_id ?? JSON.stringify(record)}`;
  if (record === null || !["decision", "alert"].includes(kind) || records.some((known) => known.identity === identity)) return;
  records.unshift({ kind, record, identity, at: Math.min(Date.parse(record.as_of) || Date.now(), Date.now()) });
  records.length = Math.min(records.length, KEPT);
  now.dirty = true;
}

function draw() {
  now.dirty = false;
  const wanted = records.filter(chosen).slice(0, SHOWN);
  if (wanted.length === 0) return show("stream", notice("empty", emptyText()));
  const rows = wanted.map(({ kind, record }) => (kind === "alert" ? alertRow(record) : decisionRow(record)));
  return show("stream", table("Decisions and alerts", ["Time", "What", "User", "Score", "Amount", "Model", "Main reason"], rows, { numeric: [3, 4] }));
}

function emptyText() {
  if (records.length > 0) return "Nothing of this kind yet.";
  return "Nothing decided since this page was opened. Score a user, or send live events: `make produce`.";
}

function chosen({ kind, record }) {
  const filter = part("stream-filter").value;
  if (filter === "alert") return kind === "alert";
  return filter === "all" || kind === "alert" || record.decision !== "approve";
}

function decisionRow(record) {
  const reason = record.reasons?.[0];
  const amount = record.entity_row?.transaction_amount_cents ?? record.features?.transaction_context__amount_cents;
  return [
    clock(record.as_of),
    badge(record.decision),
    userLink(record.user_id),
    record.score.toFixed(4),
    money(amount),
    `${record.model.name.replaceAll("_", " ")} v${record.model.version}${record.degraded ? ", without history" : ""}`,
    reason ? element("span", { class: "muted", title: reason.feature }, `${reason.feature.split("__").at(-1)} ${shown(reason.value, reason.feature)}`) : "",
  ];
}

/** An alert has at least a user; whatever else it says is shown as it says it. */
function alertRow(record) {
  const at = record.as_of ?? record.at ?? record.created_timestamp ?? record.event_timestamp;
  const why = record.reason ?? record.rule ?? record.detail ?? "";
  return [
    at ? clock(at) : "–",
    element("span", { class: "badge alert" }, "alert"),
    record.user_id ? userLink(record.user_id) : "–",
    typeof record.score === "number" ? record.score.toFixed(4) : "",
    money(record.amount_cents),
    record.model ? `${record.model.name ?? record.model}` : "",
    element("span", { class: "muted" }, short(String(why), 60)),
  ];
}

function userLink(user) {
  const go = () => (open("user"), openUser(user));
  return element("button", { class: "link", title: user, on: { click: go } }, short(user));
}
