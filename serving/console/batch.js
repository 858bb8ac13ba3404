// A file scored: chosen or dropped, read here, sent in parts, its result shown and kept as a file.

import { requestsOf } from "./batch_rows.js";
import { scoreRows } from "./batch_score.js";
import { parse, write } from "./csv.js";
import { announce, element, notice, part, show, table } from "./dom.js";
import { number, short } from "./format.js";
import { badge } from "./verdict.js";

const SHOWN = 100;
const MOST_BYTES = 50_000_000;

const now = { name: "", header: [], rows: [], stopping: null };

export function startBatch() {
  part("file").addEventListener("change", () => choose(part("file").files[0]));
  part("batch-start").addEventListener("click", run);
  part("batch-stop").addEventListener("click", () => now.stopping?.abort());
  const drop = part("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
    });
  }
}

async function choose(file) {
  if (!file) return;
  part("batch-start").disabled = true;
  try {
    if (file.size > MOST_BYTES) throw new Error("The file is larger than 50 MB; use `make score`.");
    const lines = parse(new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()));
    Object.assign(now, { name: file.name, header: lines[0] ?? [], rows: requestsOf(lines) });
    const bad = now.rows.filter((row) => row.error).length;
    show("chosen", notice("", `${file.name}: ${number(now.rows.length)} rows${bad ? `, ${number(bad)} of them cannot be read` : ""}.`));
    part("batch-start").disabled = now.rows.length === bad;
  } catch (error) {
    const text = error instanceof TypeError ? "It is not UTF-8." : error.message;
    show("chosen", notice("bad", `${file.name} cannot be used. ${text}`));
  }
}

async function run() {
  now.stopping = new AbortController();
  for (const row of now.rows) if (row.request) Object.assign(row, { answer: undefined, error: undefined });
  busy(true);
  const started = performance.now();
  const total = now.rows.filter((row) => row.request).length;
  progress(0, total);
  try {
    await scoreRows(now.rows, (done) => progress(done, total), now.stopping.signal);
    announce(`${number(total)} rows scored`);
    show("batch-progress", notice("", `${number(total)} rows in ${((performance.now() - started) / 1e3).toFixed(1)} s.`));
  } catch (problem) {
    show("batch-progress", notice("bad", problem.name === "AbortError" ? "Stopped; what was scored so far is below." : problem.message));
  }
  busy(false);
  result();
}

function busy(is) {
  part("batch-start").hidden = is;
  part("batch-stop").hidden = !is;
  part("file").disabled = is;
  part("download").hidden = true;
}

function progress(done, total) {
  const bar = element("progress", { max: total, value: done, "aria-label": "Rows scored" });
  show("batch-progress", bar, element("p", { class: "muted" }, `${number(done)} of ${number(total)} rows`));
}

function result() {
  const scored = now.rows.filter((row) => row.answer);
  const refused = now.rows.filter((row) => row.error);
  const counts = ["approve", "review", "decline"].map((decision) => [decision, scored.filter((row) => row.answer.decision === decision).length]);
  const boxes = counts.map(([decision, count]) => element("div", { class: "figure-box" }, badge(decision), element("strong", {}, number(count)), element("span", { class: "muted" }, share(count, scored.length))));
  const refusedBox = element("div", { class: "figure-box" }, element("span", { class: "badge alert" }, "refused"), element("strong", {}, number(refused.length)), element("span", { class: "muted" }, "rows"));
  show("batch-result", element("div", { class: "figures" }, ...boxes, refused.length > 0 ? refusedBox : null), resultTable());
  offerDownload();
}

const share = (count, all) => (all === 0 ? "" : `${((count / all) * 100).toFixed(1)} %`);

function resultTable() {
  const first = now.rows.filter((row) => row.answer || row.error).slice(0, SHOWN);
  const rows = first.map((row) => [
    String(now.rows.indexOf(row) + 1),
    short(row.request?.user_id ?? row.row.join(",")),
    row.answer ? badge(row.answer.decision) : element("span", { class: "badge alert" }, "refused"),
    row.answer ? row.answer.score.toFixed(4) : "",
    row.answer ? (row.answer.reasons[0]?.feature ?? "") : row.error,
  ]);
  return table(`The first ${rows.length} rows`, ["Row", "User", "Decision", "Score", "Main reason, or what is wrong"], rows, { numeric: [0, 3] });
}

/** The file's own columns, then score, decision, model version, as_of and error. */
function offerDownload() {
  const own = ["score", "decision", "model", "model_version", "as_of", "error"];
  const lines = now.rows.map(({ row, answer, error }) => [
    ...now.header.map((_, index) => row[index] ?? ""),
    ...(answer ? [answer.score, answer.decision, answer.model.name, answer.model.version, answer.as_of] : ["", "", "", "", ""]),
    error ?? "",
  ]);
  const link = part("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([write([[...now.header, ...own], ...lines])], { type: "text/csv" }));
  link.download = now.name.replace(/(\.csv)?$/i, "-scored.csv");
  link.hidden = false;
}
