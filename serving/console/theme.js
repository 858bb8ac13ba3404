"use strict";

// Dark or light, before anything is painted: what was chosen here last, else what the machine prefers.

const chosen = localStorage.getItem("theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
