// What the answers of /readyz and /v1/status mean for each part.

const BEHIND_RECORDS = 1_000;

/** The sum of records that the folds have not applied yet; null when no fold tells. */
export function lagOf(status) {
  const folds = status.answer?.folds ?? [];
  if (folds.length === 0) return null;
  const lags = folds.flatMap((fold) => Object.values(fold.lag_records ?? {})).flatMap((partitions) => Object.values(partitions));
  return lags.reduce((sum, lag) => sum + lag, 0);
}

/** One cell a part: {name, state: good|warn|bad|unknown, text, title}. */
export function cellsOf(ready, status, write) {
  return [serviceCell(ready), storeCell(ready, status), foldCell(status, write), freshnessCell(status, write), parityCell(status, write), ...modelCells(ready)];
}

function serviceCell({ answer, problem }) {
  if (answer) return { name: "Service", state: "good", text: "ready" };
  if (problem.status === 0) return { name: "Service", state: "bad", text: "does not answer" };
  return { name: "Service", state: "bad", text: "not ready", title: problem.message };
}

function storeCell(ready, status) {
  const said = status.answer?.store ?? ready.answer?.store;
  if (said === "ok") return { name: "Store", state: "good", text: "answers" };
  if (said) return { name: "Store", state: "bad", text: said };
  return { name: "Store", state: "unknown", text: "not known" };
}

function foldCell(status, { number }) {
  if (!status.answer) return unknown("Fold", status);
  const folds = status.answer.folds ?? [];
  if (folds.length === 0) return { name: "Fold", state: "bad", text: "stopped" };
  const lag = lagOf(status);
  const text = `${folds.length > 1 ? `${folds.length} run` : "runs"}, ${number(lag)} behind`;
  return { name: "Fold", state: lag > BEHIND_RECORDS ? "warn" : "good", text };
}

function freshnessCell(status, { duration }) {
  if (!status.answer) return unknown("Freshness", status);
  const p50 = status.answer.folds?.[0]?.freshness_ms?.p50;
  if (p50 === undefined) return { name: "Freshness", state: "unknown", text: "no event yet" };
  return { name: "Freshness", state: "good", text: `half within ${duration(p50 / 1e3)}` };
}

function parityCell(status, { number }) {
  if (!status.answer) return unknown("Parity", status);
  const { parity } = status.answer;
  if (!parity) return { name: "Parity", state: "unknown", text: "not measured" };
  const mismatches = parity.mismatches ?? 0;
  return { name: "Parity", state: mismatches ? "bad" : "good", text: `${number(mismatches)} mismatches` };
}

function modelCells({ answer }) {
  return Object.entries(answer?.models ?? {}).map(([name, model]) => ({
    name: name.replace("_", " "),
    state: model.version ? "good" : "unknown",
    text: model.version ? `version ${model.version}` : "not served",
    title: model.absent ?? null,
  }));
}

const unknown = (name, { problem }) => ({ name, state: "unknown", text: "not known", title: problem?.message });

/** What a person must know at once: {what, remedy}. */
export function alarmsOf(ready, status) {
  const alarms = [];
  if (ready.problem) alarms.push({ what: ready.problem.status ? "The service is not ready." : "The service is away.", remedy: ready.problem.message });
  if (status.problem && status.problem.status !== 0 && !ready.problem) alarms.push({ what: "The platform's status is not shown.", remedy: status.problem.message });
  if (status.answer && (status.answer.folds ?? []).length === 0) {
    alarms.push({ what: "The fold is stopped.", remedy: "Answers hold no event since then. Start it with `make stream ONLY=fold`; it catches up by itself." });
  }
  if (status.answer?.folds?.some((fold) => fold.store_up === false)) alarms.push({ what: "The fold does not reach the store.", remedy: "It waits and tries again." });
  if (status.answer?.parity?.mismatches) alarms.push({ what: "Online and offline disagree.", remedy: "See the parity gauge, and `make parity`." });
  return alarms;
}
