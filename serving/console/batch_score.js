// Scoring many rows: in parts that the service takes, a refused row set aside, a busy service waited for.

import { ask } from "./api.js";

const PART = 100;
const MOST_WAITS = 30;

/** Fill `answer` or `error` of every row that has a request; `tell(done)` after each part. Raises Problem, AbortError. */
export async function scoreRows(rows, tell, signal) {
  const waiting = rows.filter((row) => row.request);
  for (let start = 0; start < waiting.length; start += PART) {
    await scorePart(waiting.slice(start, start + PART), signal);
    tell(Math.min(start + PART, waiting.length));
  }
}

/** A batch is refused whole; the row that the refusal names is set aside, and the others are asked again. */
async function scorePart(part, signal) {
  let left = part;
  while (left.length > 0) {
    try {
      const { responses } = await askPatiently({ requests: left.map((row) => row.request) }, signal);
      left.forEach((row, index) => (row.answer = responses[index]));
      return;
    } catch (problem) {
      const named = /^requests[.[](\d+)/.exec(problem.where ?? "");
      if (problem.status !== 422) throw problem;
      const refused = named ? [left[Number(named[1])]] : left;
      if (!named && left.length > 1) return await inHalves(left, signal);
      for (const row of refused) row.error = problem.message;
      left = left.filter((row) => !row.error);
    }
  }
}

async function inHalves(rows, signal) {
  const middle = Math.floor(rows.length / 2);
  await scorePart(rows.slice(0, middle), signal);
  await scorePart(rows.slice(middle), signal);
}

async function askPatiently(body, signal) {
  for (let waits = 0; ; waits += 1) {
    try {
      return await ask("/v1/score/batch", { body, signal });
    } catch (problem) {
      if (![429, 503].includes(problem.status) || waits >= MOST_WAITS) throw problem;
      await pause(problem.retryAfter || 1, signal);
    }
  }
}

function pause(seconds, signal) {
  return new Promise((resume, refuse) => {
    const timer = setTimeout(resume, seconds * 1e3);
    signal.addEventListener("abort", () => (clearTimeout(timer), refuse(new DOMException("Stopped", "AbortError"))), { once: true });
  });
}
