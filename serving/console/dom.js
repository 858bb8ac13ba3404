// Elements made from data. Text is always set as text, so an id that looks like HTML stays an id.

const SVG = document.querySelector("svg").namespaceURI;

export const part = (id) => document.getElementById(id);

/** An HTML element; `on` holds listeners, `data` data attributes, anything else is an attribute (null: left out). */
export function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element, made like an HTML one. */
export function shape(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(node, { on = {}, data = {}, ...attributes }, children) {
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  Object.assign(node.dataset, data);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Put `children` into the element `id`, in place of what is there. */
export function show(id, ...children) {
  part(id).replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** A table of rows of cells; a cell is text or an element, `numeric` says which columns are figures. */
export function table(caption, heads, rows, { numeric = [], className = "" } = {}) {
  const kind = (index) => (numeric.includes(index) ? "figure" : null);
  const head = element("tr", {}, ...heads.map((text, index) => element("th", { scope: "col", class: kind(index) }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell, index) => element("td", { class: kind(index) }, cell))));
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table",
      { class: className },
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, head),
      element("tbody", {}, ...body),
    ),
  );
}

/** A quiet sentence where there is nothing to show; `kind` is empty, loading or bad. */
export function notice(kind, text) {
  return element("p", { class: `notice ${kind}` }, ...sentence(text));
}

/** A sentence's words, what stands between backquotes as code. */
export function sentence(text) {
  return text.split("`").map((words, index) => (index % 2 === 1 ? element("code", {}, words) : words));
}

/** Say something to a screen reader without moving the focus. */
export function announce(text) {
  part("said").textContent = text;
}
