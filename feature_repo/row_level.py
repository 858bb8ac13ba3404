"""Columns that are a function of one row, computed once, when an event enters the log or the topic."""

import pyarrow as pa
import pyarrow.compute as pc

NIGHT_ENDS_HOUR_UTC = 6
SMALL_PAYMENT_CENTS = 500


def add_columns(transactions: pa.Table) -> pa.Table:
    """Add the row-level columns to transactions (n rows, the log's payload columns).

    `<type>_id` and `<type>_cents` repeat event_id and amount_cents where event_type is that type, else null, so that
    a window over them counts or sums that type only. night_id marks events between 00:00 and 06:00 UTC,
    small_payment_id payments of at most 500 cents (card testing starts with those). Existing columns are replaced.
    """
    kind, event_id, cents = (transactions[name] for name in ("event_type", "event_id", "amount_cents"))
    is_payment = pc.equal(kind, "payment")
    columns = {
        "payment_id": _where(is_payment, event_id),
        "payment_cents": _where(is_payment, cents),
        "hold_id": _where(pc.equal(kind, "hold"), event_id),
        "hold_cents": _where(pc.equal(kind, "hold"), cents),
        "withdrawal_id": _where(pc.equal(kind, "withdrawal"), event_id),
        "withdrawal_cents": _where(pc.equal(kind, "withdrawal"), cents),
        "view_id": _where(pc.equal(kind, "view"), event_id),
        "night_id": _where(pc.less(pc.hour(transactions["event_timestamp"]), NIGHT_ENDS_HOUR_UTC), event_id),
        "small_payment_id": _where(pc.and_kleene(is_payment, pc.less_equal(cents, SMALL_PAYMENT_CENTS)), event_id),
    }
    for name, values in columns.items():
        transactions = _with_column(transactions, name, values)
    return transactions


def add_label_columns(labels: pa.Table) -> pa.Table:
    """Add fraud_id to labels: the label's event_id where is_fraud is 1, else null."""
    return _with_column(labels, "fraud_id", _where(pc.equal(labels["is_fraud"], 1), labels["event_id"]))


def _where(condition: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.fill_null(condition, False), values, pa.scalar(None, values.type))


def _with_column(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.append_column(name, values) if index < 0 else table.set_column(index, name, values)
