"use strict";

// Everything that came from outside is shown with textContent only: an id that looks like HTML stays an id.

const form = document.querySelector("#ask");
const part = (id) => document.getElementById(id);
const TRANSACTION_FIELDS = ["merchant_id", "device_id", "event_type", "category", "channel", "country"];

form.api_key.value = sessionStorage.getItem("api_key") ?? "";
form.with_transaction.addEventListener("change", () => {
  part("transaction").hidden = !form.with_transaction.checked;
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

async function ask() {
  sessionStorage.setItem("api_key", form.api_key.value);
  history.replaceState(null, "", "/?user_id=" + encodeURIComponent(form.user_id.value));
  const headers = { "Content-Type": "application/json" };
  if (form.api_key.value) headers["X-API-Key"] = form.api_key.value;
  const response = await fetch("/v1/score", { method: "POST", headers, body: JSON.stringify(requestBody()) })
    .catch((error) => problemResponse(error));
  const body = await response.json();
  part("problem").hidden = response.ok;
  part("answer").hidden = !response.ok;
  if (response.ok) showAnswer(body);
  else part("problem").textContent = `${body.detail} ${body.remedy}`;
}

function requestBody() {
  const body = { user_id: form.user_id.value, explain: true };
  if (!form.with_transaction.checked) return body;
  const filled = TRANSACTION_FIELDS.filter((name) => form[name].value !== "");
  body.transaction = Object.fromEntries(filled.map((name) => [name, form[name].value]));
  if (form.amount_cents.value !== "") body.transaction.amount_cents = Number(form.amount_cents.value);
  return body;
}

function problemResponse(error) {
  const problem = { detail: `The service does not answer (${error.message}).`, remedy: "Is it running? See make status." };
  return new Response(JSON.stringify(problem), { status: 503 });
}

function showAnswer(answer) {
  part("verdict").className = answer.decision;
  part("verdict").textContent = `${answer.decision}: ${answer.score.toFixed(4)}`;
  part("circumstances").textContent =
    `${answer.user_id}, ${answer.known ? "known" : "not known: the features of an empty history"}, ` +
    `as of ${answer.as_of}, model ${answer.model.name} version ${answer.model.version}`;
  const largest = Math.max(...answer.reasons.map((reason) => Math.abs(reason.contribution)), 1e-12);
  part("reasons").replaceChildren(...answer.reasons.map((reason) => row([
    reason.feature, shown(reason.value), reason.contribution.toFixed(3), bar(Math.abs(reason.contribution) / largest),
  ])));
  part("features").replaceChildren(...Object.entries(answer.features).map(([name, value]) => row([name, shown(value)])));
  part("positions").replaceChildren(...Object.entries(answer.positions).map(([view, at]) => row([view, offsets(at)])));
}

function row(cells) {
  const line = document.createElement("tr");
  for (const cell of cells) line.insertCell().append(cell);
  return line;
}

function bar(share) {
  const meter = document.createElement("meter");
  meter.value = share;
  return meter;
}

const shown = (value) => (value === null ? "–" : String(value));
const offsets = (at) => Object.entries(at).map(([partition, offset]) => `${partition}: ${shown(offset)}`).join(", ");

async function showReadiness() {
  const response = await fetch("/readyz").catch((error) => problemResponse(error));
  const body = await response.json();
  part("status").textContent = response.ok ? "ready" : body.detail;
}

const asked = new URLSearchParams(location.search).get("user_id");
if (asked !== null) {
  form.user_id.value = asked;
  ask();
}
showReadiness();
setInterval(showReadiness, 5000);
