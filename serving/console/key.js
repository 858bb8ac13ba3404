// The dialog for the API key; it opens by itself when the service asks for one.

import { apiKey, rememberKey } from "./api.js";
import { part } from "./dom.js";

export function startKey() {
  const dialog = part("key-dialog");
  const open = (why) => {
    if (dialog.open) return;
    if (why) part("key-why").textContent = `${why}. It is sent with every request of this tab, and forgotten with it.`;
    part("key").value = apiKey();
    dialog.returnValue = "";
    dialog.showModal();
  };
  part("key-switch").addEventListener("click", () => open());
  addEventListener("locked", ({ detail }) => open(detail));
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "use") rememberKey(part("key").value);
    if (dialog.returnValue === "forget") rememberKey("");
    tell();
  });
  tell();
}

const tell = () => (part("key-switch").textContent = apiKey() ? "API key set" : "API key");
