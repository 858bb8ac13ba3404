// A file's rows as requests of /v1/score/batch; a row that is none is named with its line.

const TEXTS = ["merchant_id", "device_id", "event_type", "category", "channel", "country", "session_id", "event_id", "event_timestamp"];

/** {request} or {error} of each row after the header; raises Error when the header has no user_id. */
export function requestsOf([header, ...rows]) {
  if (!header?.includes("user_id")) throw new Error("The header has no column user_id.");
  const twice = header.find((name, index) => header.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`The header has the column ${twice} twice.`);
  return rows.map((row) => {
    if (row.length !== header.length) return { row, error: `has ${row.length} fields, the header ${header.length}` };
    return { row, ...requestOf(Object.fromEntries(header.map((name, index) => [name, row[index]]))) };
  });
}

function requestOf(fields) {
  if (fields.user_id === "") return { error: "has no user_id" };
  const transaction = Object.fromEntries(TEXTS.filter((name) => fields[name]).map((name) => [name, fields[name]]));
  if (fields.amount_cents) {
    if (!/^\d{1,15}$/.test(fields.amount_cents)) return { error: `amount_cents ${fields.amount_cents} is not a whole number of cents` };
    transaction.amount_cents = Number(fields.amount_cents);
  }
  const isTransaction = Object.keys(transaction).length > 0;
  return { request: { user_id: fields.user_id, ...(isTransaction ? { transaction } : {}) } };
}
