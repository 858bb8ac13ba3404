"""Data that misleads a model is named before it is trained, or warned about in the report."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.training.candidates import Part
from pipelines.training.label_notes import label_notes
from pipelines.training.labels import KnownLog
from pipelines.training.leaks import find_leaks, may_leak, without_leaks
from pipelines.training.rows import transaction_examples
from pipelines.training.tested import named_slices, unseen_notes

ROWS = 4_000
RANDOM = np.random.default_rng(8)
FRAUD = (RANDOM.random(ROWS) < 0.05).astype(float)
IS_FRAUD = FRAUD == 1


@pytest.mark.parametrize(
    "values",
    [
        np.where(IS_FRAUD, RANDOM.normal(10, 1, ROWS), RANDOM.normal(90, 5, ROWS)),  # a score of the outcome
        np.where(IS_FRAUD, 5, RANDOM.choice([1, 2, 8, 9], ROWS)),  # a code in the middle of others
        np.where(IS_FRAUD, "closed", "open"),
        pa.array([3.5 if fraud else None for fraud in IS_FRAUD]),  # filled in afterwards, for frauds only
        pa.array(["stolen" if fraud else None for fraud in IS_FRAUD]),
        pa.array([f"case-{n}" if fraud else None for n, fraud in enumerate(IS_FRAUD)]),
        IS_FRAUD,
    ],
    ids=["score", "code", "text", "filled-number", "filled-text", "case-number", "flag"],
)
def test_a_column_that_is_the_label_under_another_name_is_found(values):
    features = pa.table({"user_attributes__income": RANDOM.normal(0, 1, ROWS) + FRAUD, "user_attributes__puntaje": values})

    [leak] = find_leaks(features, FRAUD, seed=1)

    assert leak.feature == "user_attributes__puntaje"
    assert leak.average_precision > 0.98
    assert "Take its column out of the mapping" in str(leak)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(0, 1, ROWS) + 3 * FRAUD,  # strong and honest
        np.array([f"applicant-{n}" for n in range(ROWS)]),  # as many texts as rows
        pa.nulls(ROWS, pa.float64()),
        pa.nulls(ROWS, pa.string()),
        np.full(ROWS, 7),
    ],
    ids=["strong", "ids", "all-null", "all-null-text", "constant"],
)
def test_a_strong_feature_an_id_and_a_column_that_says_nothing_are_no_leaks(values):
    assert find_leaks(pa.table({"user_profile__x": values}), FRAUD, seed=1) == []


def test_only_columns_of_the_source_are_suspected_because_windows_end_before_the_event():
    amounts = pa.table({"transaction_context__amount_cents": np.where(IS_FRAUD, 499_900, 500)})

    assert find_leaks(amounts, FRAUD, seed=1) == []
    assert may_leak("transaction_context__category")
    assert not may_leak("merchant_chargebacks__is_fraud_mean_30d")


def test_a_leaking_column_is_taken_out_of_every_part_before_training_with_a_warning():
    features = pa.table({"user_attributes__score": FRAUD, "user_attributes__income": RANDOM.normal(0, 1, ROWS)})
    parts = {name: Part(features, FRAUD, np.zeros(ROWS)) for name in ("fit", "validation", "test")}

    kept, [warning] = without_leaks(parts, seed=1)

    assert {tuple(part.features.column_names) for part in kept.values()} == {("user_attributes__income",)}
    assert warning.startswith("user_attributes__score alone tells fraud from honest rows")


def known_log(labels: list[tuple[str, int]], times_us: list[int]) -> KnownLog:
    """Transactions pay-0, pay-1, ... of one user at those times; labels are (transaction, when it was known)."""
    size = len(times_us)
    transactions = pd.DataFrame(
        {
            "event_id": [f"pay-{n}" for n in range(size)],
            "time_us": times_us,
            "created_us": times_us,
            "amount_cents": pd.array([100] * size, "Int64"),
            **dict.fromkeys(("user_id", "merchant_id", "device_id", "event_type", "category", "channel", "country"), "x"),
        }
    )
    told = pd.DataFrame(labels, columns=["transaction_event_id", "created_us"])
    told = told.assign(event_id=told["transaction_event_id"], is_fraud=1, fraud_amount_cents=np.nan)
    return KnownLog(transactions, told, 10_000)


def test_labels_known_before_their_transaction_are_counted_with_the_remedy():
    log = known_log([("pay-0", 900), ("pay-1", 5_000)], [1_000, 2_000])

    [note] = label_notes(log, transaction_examples(log))

    assert note.startswith("1 of 2 labels were known before their transaction happened")
    assert "delay" in note


def test_entity_rows_that_stand_twice_are_counted_with_the_remedy():
    log = known_log([("pay-0", 5_000), ("pay-1", 5_000), ("pay-2", 5_000)], [1_000, 1_000, 2_000])

    [note] = label_notes(log, transaction_examples(log))

    assert note.startswith("1 of 3 entity rows repeat another one")
    assert "event_id" in note


def test_categories_that_no_fit_row_had_are_counted_because_serving_scores_them_as_missing():
    fit = pa.table({"category": ["food", "travel", None], "amount": [1, 2, 3]})
    test = pa.table({"category": ["food", "casino", None, "casino"], "amount": [1, 2, 3, 9]})

    [note] = unseen_notes(fit, test, ("category", "amount"))

    assert note.startswith("2 of 4 test rows have a category that no fit row had")


def test_slices_are_named_by_channel_amount_and_scenario_and_absent_columns_make_none():
    features = pa.table(
        {"transaction_context__channel": ["online", "card", None], "transaction_context__amount_cents": [1, 2, 900]}
    )
    tested = {"fraud": np.array([0, 1, 1]), "scenario": np.array([None, "takeover", "testing"], dtype=object)}

    slices = {name: rows.tolist() for name, rows in named_slices(features, tested).items()}

    assert slices == {
        "channel online": [True, False, False],
        "channel card": [False, True, False],
        "large amounts": [False, False, True],
        "scenario takeover": [True, True, False],
        "scenario testing": [True, False, True],
    }
    assert named_slices(pa.table({"x": [1]}), {"fraud": np.array([1]), "scenario": None}) == {}
