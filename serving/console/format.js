// How numbers, money, instants and durations are written; absence is a dash everywhere.

export const ABSENT = "–";

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const DECIMAL = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
const MONEY = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const LARGE_CENTS = 10_000_000;
const UNITS = [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]];

/** A feature's value as text; whatever is named cents is shown in major units, whole from 100,000 on. */
export function shown(value, name = "") {
  if (value === null || value === undefined) return ABSENT;
  if (typeof value !== "number") return String(value);
  if (/_cents(_|$)/.test(name)) return Math.abs(value) < LARGE_CENTS ? money(value) : number(Math.round(value / 100));
  return number(value);
}

/** A number, grouped; whole when it is, else to five figures. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return ABSENT;
  return Number.isInteger(value) ? WHOLE.format(value) : DECIMAL.format(value);
}

/** Cents as major units. */
export const money = (cents) => (cents === null || cents === undefined ? ABSENT : MONEY.format(cents / 100));

/** A share in [0, 1] as per cent. */
export const percent = (share, digits = 2) =>
  share === null || share === undefined ? ABSENT : `${(share * 100).toFixed(digits)} %`;

/** 12:04:31 of an instant, in UTC as everything here. */
export const clock = (instant) => new Date(instant).toISOString().slice(11, 19);

/** 2026-01-31 12:04:31, in UTC. */
export const dateTime = (instant) => new Date(instant).toISOString().slice(0, 19).replace("T", " ");

/** Seconds as 90 ms, 4 s, 12 m, 3 h 5 m or 2 d 4 h: the two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return ABSENT;
  if (Math.abs(seconds) < 1) return `${Math.round(seconds * 1e3)} ms`;
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[Math.max(first, 0)];
  const [minor, minorSize] = UNITS[first + 1] ?? [null, 1];
  const rest = minor ? Math.floor((seconds % size) / minorSize) : 0;
  return `${Math.floor(seconds / size)} ${unit}` + (rest ? ` ${rest} ${minor}` : "");
}

/** An identifier shortened in its middle; the whole one belongs in a title. */
export const short = (id, length = 28) => (id.length <= length ? id : `${id.slice(0, length - 9)}…${id.slice(-8)}`);
