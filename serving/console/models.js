// What each model is: what it reads, how it was judged against guessing, every version and the gate's decision on it.

import { ask } from "./api.js";
import { element, notice, show, table } from "./dom.js";
import { ABSENT, dateTime, number, percent } from "./format.js";
import { versionChart } from "./version_chart.js";

const EVERY_MS = 30_000;

let known = [];

export function startModels() {
  show("model-cards", notice("loading", "Asking what is served …"));
  addEventListener("key", refresh);
  addEventListener("view", ({ detail }) => detail === "models" && refresh());
  setInterval(() => document.hidden || refresh(), EVERY_MS);
  refresh();
}

/** {review, decline} of a served model; null when not known. */
export const thresholdsOf = (name) => known.find((model) => model.name === name)?.served?.thresholds ?? null;

async function refresh() {
  try {
    known = (await ask("/v1/models")).models;
    show("model-cards", ...known.map(card));
  } catch (problem) {
    show("model-cards", notice("bad", problem.message));
  }
}

function card(model) {
  const { name, served, absent, last_training: trained } = model;
  const versions = [...(model.versions ?? [])].sort((one, other) => Number(other.version) - Number(one.version));
  return element(
    "article",
    { class: "panel model" },
    element("div", { class: "title" }, element("h2", {}, name.replaceAll("_", " ")), served ? element("span", { class: "badge approve" }, `champion, version ${served.version}`) : null),
    served ? facts(served, trained) : notice("empty", absent),
    trained?.average_precision ? judged(trained) : null,
    trained ? gate(trained) : notice("empty", "No training report says how it was judged: `make train`."),
    versions.length > 0 ? element("h3", {}, "Versions") : null,
    versions.length > 0 ? versionChart(versions.map((version) => pointOf(version, served)).filter(({ value }) => value !== null)) : null,
    versions.length > 0 ? versionTable(versions, served) : null,
    served ? element("details", {}, element("summary", {}, `${served.features.length} features`), element("ul", { class: "names" }, ...served.features.map((feature) => element("li", {}, feature)))) : null,
  );
}

function facts(served, trained) {
  return element(
    "dl",
    { class: "columns" },
    ...fact("Feature service", served.feature_service),
    ...fact("Definitions", served.definition_hash),
    ...fact("Review from", number(served.thresholds.review)),
    ...fact("Decline from", number(served.thresholds.decline)),
    ...(trained?.rows ? fact("Trained on", `${number(trained.rows)} rows, ${number(trained.positives)} fraud`) : []),
    ...(trained?.split?.test_end ? fact("Tested up to", `${dateTime(trained.split.test_end)} UTC`) : []),
  );
}

const fact = (name, value) => [element("dt", {}, name), element("dd", {}, value)];

/** A figure never stands without what guessing would give. */
function judged(trained) {
  const [low, high] = trained.average_precision_ci ?? [];
  const box = (name, value, note) => element("div", { class: "figure-box" }, element("span", { class: "name" }, name), element("strong", {}, value), element("span", { class: "muted" }, note));
  return element(
    "div",
    { class: "figures" },
    box("average precision", trained.average_precision.toFixed(3), `base rate ${trained.base_rate.toFixed(3)}`),
    low === undefined ? null : box("its 95 % range", `${low.toFixed(3)} – ${high.toFixed(3)}`, "on rows never fitted"),
    box("recall at 0.5 % false alarms", percent(trained["recall_at_fpr_0.005"], 1), "guessing gives 0.5 %"),
    box("Brier", trained.brier.toFixed(4), `guessing ${trained.comparison?.base_rate?.brier?.toFixed(4) ?? "–"}`),
  );
}

function gate(trained) {
  const promoted = trained.gate?.promoted;
  const said = promoted ? "Promoted" : "Not promoted";
  const checks = (trained.gate?.checks ?? []).map(({ name, passed, detail }) =>
    element("li", {}, element("span", { class: `badge ${passed ? "approve" : "decline"}` }, passed ? "passed" : "failed"), `${name}: ${detail}`),
  );
  return element(
    "div",
    { class: `gate ${promoted ? "passed" : "held"}` },
    element("p", {}, element("strong", {}, `${trained.gate ? said : "Not trained"}. `), trained.gate?.reason ?? trained.reason ?? ""),
    checks.length > 0 ? element("ul", {}, ...checks) : null,
  );
}

function versionTable(versions, served) {
  const rows = versions.map((version) => [
    version.version === served?.version ? `${version.version}, champion` : version.version,
    minute(version.created_at),
    minute(version.champion_since),
    pointOf(version, served).value?.toFixed(3) ?? ABSENT,
    version.tags?.gate ?? "",
  ]);
  const heads = ["Version", "Registered, UTC", "Champion since", "Average precision", "The gate's reason"];
  return table("Versions", heads, rows, { numeric: [3] });
}

const minute = (instant) => (instant ? dateTime(instant).slice(0, 16) : ABSENT);

function pointOf(version, served) {
  const value = version.metrics?.average_precision ?? null;
  return { name: version.version, value, isChampion: version.version === served?.version };
}
