// What a feature's name says: view, column, function and window; user_payments__payment_cents_sum_7d.

const WINDOWED = /^(.+)_(count_distinct|count|sum|mean|min|max|std|first|last)_(\d+)(us|ms|s|m|h|d)$/;
const SECONDS = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3_600, d: 86_400 };

/** {view, name, column, how, window, seconds}; the last four are null for a feature without a window. */
export function read(feature) {
  const [view, name] = feature.includes("__") ? splitOnce(feature) : ["", feature];
  const match = WINDOWED.exec(name);
  if (!match) return { feature, view, name, column: null, how: null, window: null, seconds: null };
  const [, column, how, count, unit] = match;
  return { feature, view, name, column, how, window: count + unit, seconds: Number(count) * SECONDS[unit] };
}

/** Names by view, and within a view by measure (column and function): [[view, [[measure, [feature]]]]], measures sorted.
 *  A view with any feature that has no window is a list of plain features: in it a name that ends in 30d tells no window. */
export function grouped(features) {
  const views = new Map();
  const all = features.map(read);
  const plain = new Set(all.filter(({ seconds }) => seconds === null).map(({ view }) => view));
  for (const parsed of all.map((one) => (plain.has(one.view) ? { ...one, column: null, window: null, seconds: null } : one))) {
    const measures = views.get(parsed.view) ?? views.set(parsed.view, new Map()).get(parsed.view);
    const measure = parsed.column === null ? parsed.name : `${parsed.column} ${parsed.how}`;
    measures.set(measure, [...(measures.get(measure) ?? []), parsed]);
  }
  return [...views].map(([view, measures]) => [view, [...measures].sort(([one], [other]) => (one < other ? -1 : 1))]);
}

/** user_payments -> user payments */
export const words = (name) => name.replaceAll("_", " ");

function splitOnce(feature) {
  const at = feature.indexOf("__");
  return [feature.slice(0, at), feature.slice(at + 2)];
}
