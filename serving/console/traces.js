// What each feature was at the last readings: how a value decays while one looks.

import { shape } from "./dom.js";

const KEPT = 90;

const now = { user: null, readings: [] };

/** Keep a reading of a user's features; another user begins anew. */
export function remember(user, features) {
  if (user !== now.user) Object.assign(now, { user, readings: [] });
  now.readings.push(features);
  if (now.readings.length > KEPT) now.readings.shift();
}

/** A feature's readings as a line in a box at (x, y); null with fewer than two numbers. */
export function trace(feature, { x, y, width, height }) {
  const values = now.readings.map((features) => features[feature]).filter((value) => typeof value === "number");
  if (values.length < 2) return null;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const across = (index) => x + width * (1 - (values.length - 1 - index) / (KEPT - 1));
  const up = (value) => (most === least ? y + height / 2 : y + height * (1 - (value - least) / (most - least)));
  const path = values.map((value, index) => (index === 0 ? `M${across(0)} ${up(value)}` : `H${across(index)}V${up(value)}`)).join("");
  return shape("path", { class: "trace", d: path });
}
