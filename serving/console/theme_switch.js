// The switch between dark and light; the choice outlives the tab.

import { part } from "./dom.js";

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

export function startSwitch() {
  const button = part("theme-switch");
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
    tell();
  });
  prefersDark.addEventListener("change", tell);
  tell();
}
