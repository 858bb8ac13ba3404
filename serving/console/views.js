// The tabs: click, arrow keys, and the address' fragment say which view is shown.

import { part } from "./dom.js";

const tabs = () => [...part("views").querySelectorAll("[role=tab]")];
const nameOf = (tab) => tab.id.replace("tab-", "");

export function startViews() {
  for (const tab of tabs()) tab.addEventListener("click", () => open(nameOf(tab)));
  part("views").addEventListener("keydown", move);
  addEventListener("hashchange", () => select(location.hash.slice(1)));
  select(location.hash.slice(1));
}

/** Show a view by name: user, live, models or batch. */
export function open(name) {
  if (location.hash.slice(1) === name) select(name);
  else location.hash = name;
}

export const isOpen = (name) => !part(`view-${name}`).hidden && !document.hidden;

function select(wanted) {
  const chosen = tabs().find((tab) => nameOf(tab) === wanted) ?? tabs()[0];
  for (const tab of tabs()) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    part(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
  dispatchEvent(new CustomEvent("view", { detail: nameOf(chosen) }));
}

function move(event) {
  const all = tabs();
  const at = all.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
  const targets = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 };
  if (!(event.key in targets)) return;
  event.preventDefault();
  const next = all.at(targets[event.key] % all.length);
  next.focus();
  open(nameOf(next));
}
