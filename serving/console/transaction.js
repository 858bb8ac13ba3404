// The transaction of the form, as the service wants it: money in cents, empty fields left out.

const TEXTS = ["event_type", "merchant_id", "device_id", "category", "channel", "country"];
const AMOUNT = /^(\d{1,13})(?:\.(\d{1,2}))?$/;

/** The filled fields; raises Error for an amount that is none. */
export function transactionOf(form) {
  const filled = TEXTS.filter((name) => form[name].value !== "");
  const transaction = Object.fromEntries(filled.map((name) => [name, form[name].value]));
  const amount = form.amount.value.trim();
  if (amount !== "") transaction.amount_cents = centsOf(amount);
  return transaction;
}

/** "12.5" -> 1250, without a detour over binary fractions. */
export function centsOf(amount) {
  const match = AMOUNT.exec(amount);
  if (!match) throw new Error(`The amount ${amount} is not a number such as 1234.50.`);
  return Number(match[1] + (match[2] ?? "").padEnd(2, "0"));
}
