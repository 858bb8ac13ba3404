// Comma-separated values as RFC 4180 has them: read into rows of text, and written again.

const QUOTED = /[",\r\n]/;

/** Rows of fields, all text; raises Error for a quote that is never closed or stands inside a plain field. */
export function parse(text) {
  const rows = [[]];
  let at = text.startsWith("\ufeff") ? 1 : 0;
  while (at < text.length) {
    const [field, end] = text[at] === '"' ? quoted(text, at) : plain(text, at);
    rows.at(-1).push(field);
    at = end;
    if (text[at] === ",") {
      at += 1;
      if (at === text.length || text[at] === "\n" || text[at] === "\r") rows.at(-1).push("");
    }
    if (text[at] === "\r") at += 1;
    if (text[at] === "\n") {
      at += 1;
      rows.push([]);
    }
  }
  return rows.filter((row) => row.length > 0 && !(row.length === 1 && row[0] === ""));
}

function quoted(text, start) {
  let [field, at] = ["", start + 1];
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) throw new Error("A quote is opened and never closed.");
    field += text.slice(at, quote);
    if (text[quote + 1] !== '"') {
      if (![undefined, ",", "\r", "\n"].includes(text[quote + 1])) throw new Error(`A closing quote is followed by ${text[quote + 1]}.`);
      return [field, quote + 1];
    }
    field += '"';
    at = quote + 2;
  }
}

function plain(text, start) {
  const match = /[,\r\n]/g;
  match.lastIndex = start;
  const end = match.exec(text)?.index ?? text.length;
  return [text.slice(start, end), end];
}

/** Text of rows; what a field holds comes back as it was. */
export function write(rows) {
  return rows.map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
}

function field(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return QUOTED.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
