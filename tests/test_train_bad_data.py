"""Data that misleads a model is named before it is trained, or warned about in the report."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.training.candidates import Part, check_parts
from pipelines.training.label_notes import label_notes
from pipelines.training.labels import KnownLog, TrainingRefusedError
from pipelines.training.leaks import find_leaks, may_leak, too_good, without_leaks
from pipelines.training.odd_columns import odd_columns, rare_texts
from pipelines.training.periods import Periods
from pipelines.training.rows import transaction_examples
from pipelines.training.split import split_by_time
from pipelines.training.tested import named_slices, unseen_notes
from plumbline.durations import DAY

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


def test_a_column_that_is_nearly_the_label_is_kept_with_a_warning_that_names_it():
    corrected = np.where(RANDOM.random(ROWS) < 0.003, 1 - FRAUD, FRAUD)
    features = pa.table(
        {"user_attributes__disputed": corrected, "user_attributes__income": RANDOM.normal(0, 1, ROWS) + 3 * FRAUD}
    )
    parts = {name: Part(features, FRAUD, np.zeros(ROWS)) for name in ("fit", "validation", "test")}

    kept, [warning] = without_leaks(parts, seed=1)

    assert kept["fit"].features.column_names == features.column_names
    assert warning.startswith("user_attributes__disputed alone has an average precision of 0.9")
    assert "take its column out of the mapping" in warning


def test_only_columns_of_the_source_are_suspected_because_windows_end_before_the_event():
    amounts = pa.table({"transaction_context__amount_cents": np.where(IS_FRAUD, 499_900, 500)})

    assert find_leaks(amounts, FRAUD, seed=1) == []
    assert may_leak("transaction_context__category")
    assert not may_leak("merchant_chargebacks__is_fraud_mean_30d")


def test_a_score_that_is_too_good_is_warned_about_with_the_feature_that_tells():
    features = pa.table(
        {"merchant_chargebacks__is_fraud_mean_30d": FRAUD, "transaction_context__hour_utc": RANDOM.integers(0, 24, ROWS)}
    )

    [warning] = too_good(features, FRAUD, 0.997, seed=1)

    assert warning.startswith(
        "An average precision of 0.997 is rarer than a leak: merchant_chargebacks__is_fraud_mean_30d alone"
    )
    assert too_good(features, FRAUD, 0.9, seed=1) == []


def test_a_leaking_column_is_taken_out_of_every_part_before_training_with_a_warning():
    features = pa.table({"user_attributes__score": FRAUD, "user_attributes__income": RANDOM.normal(0, 1, ROWS)})
    parts = {name: Part(features, FRAUD, np.zeros(ROWS)) for name in ("fit", "validation", "test")}

    kept, [warning] = without_leaks(parts, seed=1)

    assert {tuple(part.features.column_names) for part in kept.values()} == {("user_attributes__income",)}
    assert warning.startswith("user_attributes__score alone tells fraud from honest rows")


def known_log(labels: list[tuple[str, int]], times_us: list[int]) -> KnownLog:
    """Transactions pay-0, pay-1, ... of x at those times, the last of y; labels are (transaction, when it was known)."""
    size = len(times_us)
    transactions = pd.DataFrame(
        {
            "event_id": [f"pay-{n}" for n in range(size)],
            "time_us": times_us,
            "created_us": times_us,
            "amount_cents": pd.array([100] * size, "Int64"),
            "user_id": ["x"] * (size - 1) + ["y"],
            **dict.fromkeys(("merchant_id", "device_id", "event_type", "category", "channel", "country"), "x"),
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


@pytest.mark.parametrize("told", ["Every one", "None"])
def test_labels_of_one_class_are_refused_with_the_rule_that_says_which_value_is_fraud(told):
    part = Part(pa.table({"x": range(40)}), np.full(40, float(told == "Every one")), np.zeros(40))

    with pytest.raises(TrainingRefusedError, match=f"^{told} of the 120 rows is a known fraud.*`positive`"):
        check_parts({"fit": part, "validation": part, "test": part})


def test_a_word_or_a_comma_that_makes_texts_of_a_column_of_numbers_is_warned_about():
    features = pa.table(
        {
            "user_attributes__income": ["inf", *(f"{n}.5" for n in range(99))],
            "user_attributes__limit": [f"{n},5" for n in range(100)],
            "user_attributes__branch": [f"00{n}" for n in range(100)],  # an id's zeros: no number
            "user_attributes__plan": ["gold", "silver"] * 50,
        }
    )

    word, comma = odd_columns(features)

    assert word.startswith("user_attributes__income: 1 of 100 texts are no numbers ('inf', ...)")
    assert "scale: 1" in word
    assert comma.startswith("user_attributes__limit: 100 of 100 texts are numbers with a comma ('0,5', ...)")


@pytest.mark.parametrize("form", ["${}", "{} EUR", "{}%", "1.{}.500", "1,{},500.00", "1 {} 500"])
def test_texts_that_are_numbers_with_a_unit_or_marks_between_thousands_are_warned_about(form):
    numbers = pa.array([form.format(n) for n in range(100, 200)])

    [note] = odd_columns(pa.table({"user_attributes__income": numbers}))

    assert note.startswith("user_attributes__income: 100 of 100 texts are numbers with a unit")


def test_codes_and_words_are_no_numbers_with_a_unit():
    codes = pa.table({"user_attributes__purpose": [f"A{n}" for n in range(100)], "user_attributes__town": ["OSL", "12 b"] * 50})

    assert odd_columns(codes) == []


def test_texts_beyond_those_that_are_told_apart_are_counted():
    features = pa.table({"user_attributes__client": ["ann", "bob", "cy", "dee", "dee", None]})

    [note] = rare_texts(features, {"user_attributes__client": ["ann", "bob"]})

    assert note.startswith("user_attributes__client: the 2 commonest texts are told apart; 3 of 6 rows have one of 2 others")
    assert rare_texts(features, {"user_attributes__client": ["ann", "bob", "cy", "dee"]}) == []


def test_a_log_of_one_user_is_noted():
    log = known_log([("pay-0", 5_000)], [1_000])

    [note] = label_notes(log, transaction_examples(log))

    assert note.startswith("All 1 events are of one user, 'y'")


def test_events_without_a_label_are_counted_because_scores_are_of_labelled_ones():
    log = known_log([("pay-0", 5_000), ("pay-3", 5_000)], [1_000, 2_000, 3_000, 4_000, 9_000])

    [note] = label_notes(log, transaction_examples(log))

    assert note.startswith("Only 2 of 4 such events have a known label")  # the last has had no time to get one


def test_one_event_of_another_decade_leaves_the_split_where_it_would_be_and_is_noted():
    days = [float(n) for n in range(13_000, 13_400)]
    split, usual = (
        split_by_time(np.array(at) * DAY, 20_000 * DAY, Periods("a test", 7 * DAY, 7 * DAY, DAY, 0))
        for at in ([100.0, *days], days)
    )
    log = known_log([("pay-0", 9_000)], [int(at * DAY) for at in (100.0, *days)])

    notes = label_notes(log, transaction_examples(log))

    assert abs(split.train_end - usual.train_end) <= 2 * DAY
    assert notes[-1].startswith("A few of 401 events lie far from all others (from 1970-04-11 to 2006-09-08)")
