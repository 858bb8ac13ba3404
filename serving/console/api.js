// Asking the service: JSON with the key of this tab, problems as exceptions, and the live stream.

const KEY = "api_key";

export const apiKey = () => sessionStorage.getItem(KEY) ?? "";

let refused = null; // {key, problem}: what was refused once is not sent again and again by what asks every second

export function rememberKey(key) {
  refused = null;
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  dispatchEvent(new CustomEvent("key"));
}

/** What the service says is wrong; status 0 when nothing answers. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super([body.detail, body.remedy].filter(Boolean).join(" ") || `The service answered ${status}.`);
    Object.assign(this, { status, where: body.where ?? "", retryAfter });
  }
}

/** The JSON of a path; raises Problem. A 401 also asks for a key, and until there is another nothing more is sent. */
export async function ask(path, { body, signal } = {}) {
  if (refused?.key === apiKey() && path.startsWith("/v1/")) throw refused.problem;
  const response = await send(path, body, signal);
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw refusal(response, answer);
}

/** Hand every event of a server-sent stream to `take(kind, data)`; returns when the stream ends, raises Problem. */
export async function follow(path, take, signal) {
  if (refused?.key === apiKey()) throw refused.problem;
  const response = await send(path, undefined, signal, "text/event-stream");
  if (!response.ok) throw refusal(response, await response.json().catch(() => ({})));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (waiting + value.replaceAll("\r", "")).split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) take(...eventOf(block));
  }
}

function refusal(response, answer) {
  const problem = new Problem(response.status, answer, Number(response.headers.get("Retry-After")) || 0);
  if (response.status === 401) {
    refused = { key: apiKey(), problem };
    dispatchEvent(new CustomEvent("locked", { detail: answer.what }));
  }
  return problem;
}

function eventOf(block) {
  const lines = block.split("\n").map((line) => line.match(/^(event|data): ?(.*)$/)).filter(Boolean);
  const said = (name) => lines.filter((line) => line[1] === name).map((line) => line[2]);
  const data = said("data").join("\n");
  return [said("event")[0] ?? "message", data ? JSON.parse(data) : null];
}

async function send(path, body, signal, accept = "application/json") {
  const headers = { Accept: accept };
  if (apiKey()) headers["X-API-Key"] = latin(apiKey());
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method: body === undefined ? "GET" : "POST", headers, body: JSON.stringify(body), signal };
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service does not answer.", remedy: "Is it running? `make status` tells." }, 0);
  }
}

/** A header holds Latin-1 only; another character is sent as ?, and is then refused as the wrong key it is. */
const latin = (text) => text.replace(/[^\x20-\x7e\xa0-\xff]/g, "?");
