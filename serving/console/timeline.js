// A user's events as they age, and the windows over them: read again and again, so a value decays before one's eyes.

import { ask } from "./api.js";
import { element, notice, part, show, table } from "./dom.js";
import { grouped, words } from "./feature_names.js";
import { dateTime, duration, shown } from "./format.js";
import { axisOf } from "./time_axis.js";
import { remember } from "./traces.js";
import { drawn } from "./window_chart.js";

const EVENTS_EVERY_MS = 2_000;
const MOST_ROWS = 200;
const FIRST_CHOICE = ["user_payments", "payment_id count"];

const now = { user: null, heads: null, problem: "", askedAt: 0, answer: null };

export function startTimeline() {
  for (const id of ["measure", "axis"]) part(id).addEventListener("change", draw);
  new ResizeObserver(draw).observe(part("timeline"));
}

/** Begin with another user: nothing of the one before stays. */
export function forgetEvents(user) {
  Object.assign(now, { user, heads: null, problem: "", askedAt: 0, answer: null });
  show("timeline", notice("loading", "Reading the events …"));
}

/** Draw the windows of a features answer over the user's events. */
export async function showTimeline(answer) {
  now.answer = answer;
  remember(answer.user_id, answer.features);
  offer(answer.features);
  draw();
  if (performance.now() - now.askedAt < EVENTS_EVERY_MS) return;
  now.askedAt = performance.now();
  const user = now.user;
  try {
    const heads = await ask(`/v1/users/${encodeURIComponent(user)}/events`);
    if (user === now.user) Object.assign(now, { heads: heads.views, problem: "" });
  } catch (problem) {
    if (user === now.user) now.problem = problem.message;
  }
  draw();
}

/** Fill the choice of measures; what was chosen stays chosen. */
function offer(features) {
  const choice = part("measure");
  const wanted = measuresOf(features).map(({ view, measure }) => `${view}: ${measure}`);
  if (wanted.join() === [...choice.options].map((option) => option.value).join()) return;
  const kept = choice.value || FIRST_CHOICE.join(": ");
  choice.replaceChildren(...wanted.map((name) => element("option", { value: name }, words(name))));
  if (wanted.includes(kept)) choice.value = kept;
}

/** Every measure that has windows: {view, measure, windows}, windows as read from the names, shortest first. */
function measuresOf(features) {
  return grouped(Object.keys(features)).flatMap(([view, measures]) =>
    measures
      .filter(([, all]) => all[0].seconds !== null)
      .map(([measure, all]) => ({ view, measure, windows: [...all].sort((one, other) => one.seconds - other.seconds) })),
  );
}

function draw() {
  if (now.answer === null) return;
  const measure = measuresOf(now.answer.features).find(({ view, measure: name }) => `${view}: ${name}` === part("measure").value);
  if (!measure) return show("timeline", notice("empty", "No windowed feature is about a user alone."));
  const head = now.heads?.[measure.view];
  const at = Date.parse(now.answer.as_of);
  const events = (head?.events ?? []).map((event) => ({ ...event, age: (at - Date.parse(event.event_timestamp)) / 1e3, isIn: measure.windows[0].column in event.columns }));
  const longest = measure.windows.at(-1).seconds;
  const axis = axisOf(part("axis").value, longest, part("timeline").clientWidth || 640);
  const headAge = head?.since ? (at - Date.parse(head.since)) / 1e3 : null;
  return show("timeline", drawn({ ...measure, events, headAge, features: now.answer.features }, axis), about(head, at), eventTable(events));
}

function about(head, at) {
  if (now.problem) return notice("bad", `The events cannot be shown: ${now.problem}`);
  if (now.heads === null) return notice("loading", "Reading the events …");
  if (!head?.since) return notice("empty", "The store holds no event of this user in this view.");
  const age = duration((at - Date.parse(head.since)) / 1e3);
  return notice("", `Dots are single events, kept for the last ${age}; older ones live in tiles, shown as blocks between one window's edge and the next.`);
}

function eventTable(events) {
  if (events.length === 0) return null;
  const rows = events.slice(-MOST_ROWS).reverse().map((event) => [`${dateTime(event.event_timestamp)} UTC`, columnsOf(event)]);
  const open = part("timeline").querySelector("details")?.open ?? false;
  return element("details", { open }, element("summary", {}, `${events.length} events, as a table`), table("Events", ["Time", "Columns"], rows));
}

const columnsOf = (event) =>
  Object.entries(event.columns).map(([name, value]) => (value === true ? words(name) : `${words(name)} ${shown(value, name)}`)).join(", ");
