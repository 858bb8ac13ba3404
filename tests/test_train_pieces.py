"""The rules of training, one by one, on numbers that can be checked by hand."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score

from feature_repo.settings import Settings
from pipelines.evaluate import bootstrap_average_precision, evaluate, recall_at_fpr
from pipelines.training import logistic
from pipelines.training.calibration import platt, probability
from pipelines.training.candidates import check_parts
from pipelines.training.encoding import choose_encoding
from pipelines.training.labels import KnownLog, LabelsInOrder, TrainingRefusedError, newest_known
from pipelines.training.parts import Part
from pipelines.training.periods import Periods, known_until_us, read_periods
from pipelines.training.rows import account_examples, transaction_examples
from pipelines.training.split import split_by_time
from pipelines.training.thresholds import Costs, choose_thresholds, losses, total_cost
from pipelines.training.tracking import TrackingUnavailableError, wait_for_mlflow

HOUR = 3_600_000_000
DAY = 24 * HOUR


def transactions(rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    """Events (event_id, user_id, time in hours) as a training run reads them."""
    frame = pd.DataFrame(rows, columns=["event_id", "user_id", "hours"])
    return frame.assign(
        merchant_id="shop", device_id="phone", event_type="payment", category=None, channel=None, country=None,
        amount_cents=pd.array([100] * len(rows), dtype="Int64"), time_us=frame["hours"] * HOUR,
    )  # fmt: skip


def labels(rows: list[tuple[str, str, int, int | None]]) -> pd.DataFrame:
    """Labels (event_id, transaction_event_id, known at hour, is_fraud), each fraud of 100 cents."""
    frame = pd.DataFrame(rows, columns=["event_id", "transaction_event_id", "hours", "is_fraud"])
    frame["is_fraud"] = frame["is_fraud"].astype("Int64")
    cents = pd.array([100 if fraud == 1 else None for *_, fraud in rows], dtype="Int64")
    return frame.assign(fraud_amount_cents=cents, created_us=frame["hours"] * HOUR)


def periods(horizon_us: int = DAY, gap_us: int = DAY) -> Periods:
    return Periods("a test", gap_us, gap_us, horizon_us, 30 * DAY)


class TestLabels:
    def test_a_reversal_replaces_the_label_once_it_is_known(self):
        known = LabelsInOrder(labels([("chargeback", "pay-1", 10, 1), ("reversal", "pay-1", 20, 0)]))

        assert newest_known(known, 9 * HOUR).empty
        assert newest_known(known, 19 * HOUR).loc["pay-1", "is_fraud"] == 1
        assert newest_known(known, 20 * HOUR).loc["pay-1", "is_fraud"] == 0

    def test_an_empty_label_says_nothing(self):
        known = LabelsInOrder(labels([("chargeback", "pay-1", 10, 1), ("blank", "pay-1", 11, None)]))

        assert newest_known(known, 12 * HOUR).loc["pay-1", "is_fraud"] == 1

    def test_the_log_knows_until_its_load_or_its_newest_append_and_never_after_now(self, tmp_path):
        (tmp_path / "_commits").mkdir()
        loaded = datetime(1970, 1, 2, tzinfo=UTC)  # one day after the epoch
        (tmp_path / "_commits" / "history.json").write_text(json.dumps({"replaced_at": loaded.isoformat()}))

        assert known_until_us(tmp_path, None, 9 * DAY) == DAY
        assert known_until_us(tmp_path, 2 * DAY, 9 * DAY) == 2 * DAY
        assert known_until_us(tmp_path, 2 * DAY, HOUR) == HOUR
        assert known_until_us(tmp_path / "no-record", None, 9 * DAY) == 9 * DAY


class TestPeriods:
    def test_without_a_loaders_word_the_defaults_shrink_to_a_tenth_of_the_span(self, tmp_path):
        settings = Settings.from_env({"DATA_DIR": str(tmp_path)})

        short, long = read_periods(settings, 10 * HOUR), read_periods(settings, 100 * DAY)

        assert (short.label_delay_us, short.gap_us, short.horizon_us) == (HOUR, HOUR, HOUR)
        assert (long.label_delay_us, long.gap_us, long.horizon_us) == (7 * DAY, 7 * DAY, DAY)

    def test_a_delay_that_the_loader_wrote_is_never_shrunk(self, tmp_path):
        settings = Settings.from_env({"DATA_DIR": str(tmp_path)})
        settings.reports_path.mkdir()
        (settings.reports_path / "load.json").write_text(json.dumps({"label_delay_s": 604_800}))

        assert read_periods(settings, 10 * HOUR).gap_us == 7 * DAY


class TestSplit:
    HOURLY = np.arange(100 * 24) * HOUR

    def test_train_gap_and_test_follow_each_other_and_the_gap_is_the_label_delay(self):
        split = split_by_time(self.HOURLY, 1_000 * DAY, periods(gap_us=7 * DAY))

        assert split.gap_end == split.train_end + 7 * DAY
        assert split.start < split.train_end < split.gap_end < split.test_end == 99 * DAY + 23 * HOUR + 1
        assert split.train_end / (93 * DAY) == pytest.approx(0.7, abs=0.01)

    def test_the_test_ends_a_gap_before_the_last_known_instant(self):
        split = split_by_time(self.HOURLY, 100 * DAY, periods(gap_us=7 * DAY))

        assert split.test_end == 93 * DAY

    def test_a_log_that_is_nearly_empty_for_hours_has_rows_on_both_sides(self):
        dense = np.linspace(20 * HOUR, 24 * HOUR, 5_000).astype(np.int64)
        times = np.concatenate([np.arange(1_000) * 1_000_000, dense])  # 17 minutes, hours of nothing, 4 hours

        masks = split_by_time(times, 25 * HOUR, periods(HOUR, HOUR)).masks(times, times + 1)

        assert masks["fit"].sum() + masks["validation"].sum() >= 1_000
        assert masks["test"].sum() >= 1_000

    def test_validation_is_the_last_quarter_of_the_training_rows(self):
        masks = split_by_time(self.HOURLY, 1_000 * DAY, periods()).masks(self.HOURLY, self.HOURLY + 1)

        assert masks["validation"].sum() / masks["fit"].sum() == pytest.approx(1 / 3, abs=0.01)
        assert np.flatnonzero(masks["fit"]).max() < np.flatnonzero(masks["validation"]).min()

    def test_an_example_whose_period_crosses_a_border_is_in_no_part(self):
        split = split_by_time(self.HOURLY, 1_000 * DAY, periods())
        start = np.array([split.train_end - 2 * HOUR, split.train_end - HOUR // 2, split.train_end, split.gap_end])

        masks = split.masks(start, start + HOUR)

        assert (masks["fit"] | masks["validation"]).tolist() == [True, False, False, False]
        assert masks["test"].tolist() == [False, False, False, True]

    def test_a_log_shorter_than_its_label_delay_is_refused_with_both_durations(self):
        with pytest.raises(TrainingRefusedError, match=r"span 23\.0 h; the label delay of 168\.0 h"):
            split_by_time(self.HOURLY[:24], 1_000 * DAY, periods(gap_us=7 * DAY))


class TestExamples:
    def test_a_transaction_is_asked_at_its_own_instant_with_its_own_columns(self):
        log = KnownLog(transactions([("pay-1", "ann", 5), ("pay-2", "bob", 6)]), labels([("l", "pay-2", 9, 1)]), 10 * HOUR)

        examples = transaction_examples(log)

        row = examples.entity_rows.iloc[0]
        assert (row["user_id"], row["transaction_amount_cents"], row["transaction_time_us"]) == ("bob", 100, 6 * HOUR)
        assert row["event_timestamp"] == pd.Timestamp("1970-01-01T06:00Z")
        assert examples.outcomes(9 * HOUR).fraud.tolist() == [1.0]
        assert np.isnan(examples.outcomes(8 * HOUR).fraud).tolist() == [True]

    def test_labelled_transactions_that_the_log_lacks_are_counted_in_a_note(self):
        log = KnownLog(
            transactions([("pay-1", "ann", 5)]), labels([("l1", "pay-1", 9, 0), ("l2", "elsewhere", 9, 1)]), 10 * HOUR
        )

        examples = transaction_examples(log)

        assert len(examples.entity_rows) == 1
        assert examples.notes[0].startswith("1 labelled transactions are not in the log")

    def test_an_account_is_asked_at_each_step_after_its_first_event(self):
        log = KnownLog(transactions([("a", "ann", 30), ("b", "bob", 50), ("c", "ann", 80)]), labels([]), 99 * DAY)

        rows = account_examples(log, DAY, anchor_us=5 * DAY, seed=1).entity_rows

        asked = [(user, at.isoformat()) for user, at in zip(rows["user_id"], rows["event_timestamp"], strict=True)]
        assert asked == [
            ("ann", "1970-01-03T00:00:00+00:00"),  # 48 h
            ("ann", "1970-01-04T00:00:00+00:00"),  # 72 h
            ("bob", "1970-01-04T00:00:00+00:00"),
        ]

    def test_an_account_is_positive_when_a_transaction_of_the_horizon_is_reported_later(self):
        events = transactions([("a", "ann", 1), ("x", "ann", 48), ("y", "ann", 71), ("z", "ann", 100)])
        log = KnownLog(events, labels([("l1", "x", 90, 1), ("l2", "y", 95, 1), ("l3", "z", 101, 0)]), 99 * DAY)
        examples = account_examples(log, DAY, anchor_us=5 * DAY, seed=1)

        before, after = examples.outcomes(89 * HOUR), examples.outcomes(95 * HOUR)

        # steps:   24 h .. 48 h        48 h (x) .. (y) 72 h       72 h .. 96 h       96 h (z) ..
        assert before.fraud.tolist() == [0, 0, 0, 0]
        assert after.fraud.tolist() == [0, 1, 0, 0]
        assert after.loss_cents[1] == 200


class TestEncoding:
    TABLE = pa.table(
        {
            "count": [1, 2, None, 4],
            "constant": [5, 5, 5, 5],
            "nothing": pa.array([None] * 4, pa.float64()),
            "untyped": pa.nulls(4),
            "country": ["FR", "DE", "FR", None],
            "flag": [True, None, False, True],
            "when": pa.array([1, 2, 3, 4], pa.timestamp("us", tz="UTC")),
        }
    )

    def test_columns_that_say_nothing_are_left_out_with_a_note(self):
        encoding, notes = choose_encoding(self.TABLE, self.TABLE.column_names)

        assert encoding.features == ("count", "country", "flag")
        assert notes == [
            "constant was left out: it is 5 in every fit row.",
            "nothing was left out: it is null in every fit row.",
            "untyped was left out: it is null in every fit row.",
            "when was left out: no model takes its type timestamp[us, tz=UTC].",
        ]

    def test_text_becomes_the_index_of_its_value_and_missing_or_unseen_nan(self):
        encoding, _ = choose_encoding(self.TABLE, ["count", "country"])
        unseen = pa.table({"count": [7, None, 9], "country": ["DE", "XX", None]})

        matrix = encoding.matrix(unseen)

        assert encoding.categories == {"country": ["FR", "DE"]}
        np.testing.assert_array_equal(matrix, [[7, 1], [np.nan, np.nan], [9, np.nan]])

    def test_text_that_is_null_in_every_row_is_missing_whatever_type_it_came_as(self):
        encoding, _ = choose_encoding(pa.table({"count": [1, 2], "country": ["DE", "FR"]}), ["count", "country"])

        matrix = encoding.matrix(pa.table({"count": [1, 2], "country": pa.nulls(2)}))

        assert np.isnan(matrix[:, 1]).all()


class TestModels:
    def test_the_logistic_file_is_its_own_formula(self):
        table = pa.table({"cents": [10, 2_000, None, 30, 5_000, 70], "country": ["FR", "DE", "FR", None, "DE", "FR"]})
        encoding, _ = choose_encoding(table, table.column_names)
        fraud = np.array([0, 1, 0, 0, 1, 0])
        formula = logistic.fit(encoding, encoding.matrix(table), fraud, encoding.matrix(table), fraud, seed=1)
        cents, country = formula["terms"]

        margins = logistic.margin(formula, encoding.matrix(table))

        by_hand = cents["coef"] * (math.log1p(2_000) - cents["mean"]) / cents["scale"] + country["values"]["DE"]
        assert margins[1] == pytest.approx(formula["intercept"] + by_hand)
        assert margins[2] == pytest.approx(formula["intercept"] + cents["missing"] + country["values"]["FR"])
        assert margins[1] > margins[0]

    def test_calibration_gives_the_observed_rates_and_survives_perfect_separation(self):
        margin = np.repeat([-1.0, 1.0], 1000)
        mixed = np.tile([0] * 9 + [1], 200)
        mixed[1000:] = np.tile([0, 0, 1, 1, 1], 200)

        low, high = probability(np.array([-1.0, 1.0]), platt(margin, mixed))
        perfect = platt(margin, (margin > 0).astype(float))

        assert (low, high) == pytest.approx((0.1, 0.6), abs=0.01)
        assert math.isfinite(perfect["a"])
        assert probability(np.array([1.0]), perfect)[0] < 1

    def test_a_margin_that_points_the_wrong_way_is_not_calibrated(self):
        assert platt(np.array([3.0, 2.0, -2.0, -3.0]), np.array([0, 0, 1, 1])) is None


class TestThresholds:
    COSTS = Costs(review_cents=10, false_decline_cents=100, unknown_loss_cents=50)

    def test_each_decision_is_taken_where_it_is_the_cheapest(self):
        thresholds = choose_thresholds(200.0, self.COSTS)

        # p = .05: approving costs 200 * .05 = 10 = a review;  p = .9: declining costs (1 - .9) * 100 = 10 = a review
        assert thresholds == {"review": pytest.approx(0.05), "decline": pytest.approx(0.9)}

    def test_nothing_is_reviewed_where_a_review_costs_more_than_the_frauds_it_stops(self):
        thresholds = choose_thresholds(5.0, self.COSTS)

        # p = 20/21: approving costs 5 * 20/21 = declining, 100 * 1/21
        assert thresholds == {"review": pytest.approx(20 / 21), "decline": pytest.approx(20 / 21)}

    def test_the_cost_of_decisions_is_told_beside_approving_everything(self):
        told = total_cost(
            np.array([0.95, 0.9, 0.6, 0.1]), np.array([1, 0, 1, 1]), np.array([300.0, 0, 200, 40]),
            {"review": 0.5, "decline": 0.8}, self.COSTS,
        )  # fmt: skip

        assert (told["declined"], told["reviewed"], told["approved"], told["frauds_stopped"]) == (2, 1, 1, 2)
        assert told["cost_cents"] == 100 + 10 + 40
        assert told["cost_of_approving_all_cents"] == 540

    def test_an_unknown_loss_is_taken_as_the_mean_known_one(self):
        loss = losses(np.array([1, 1, 1, 0]), np.array([100, 300, np.nan, np.nan]), self.COSTS)

        assert loss.tolist() == [100, 300, 200, 0]


class TestEvaluation:
    def test_a_bootstrap_resample_is_scored_as_scikit_learn_would_ties_included(self):
        generator = np.random.default_rng(5)
        fraud = (generator.random(80) < 0.2).astype(float)
        score = generator.integers(0, 6, 80) / 6

        ours = bootstrap_average_precision(fraud, score[:, None], seed=9, resamples=3000)[:, 0]

        again = np.random.default_rng(8)
        taken = [again.integers(0, 80, 80) for _ in range(3000)]
        theirs = [average_precision_score(fraud[rows], score[rows]) for rows in taken]
        assert np.percentile(ours, [5, 50, 95]) == pytest.approx(np.percentile(theirs, [5, 50, 95]), abs=0.015)

    def test_two_scores_are_compared_on_the_same_resampled_rows(self):
        score = np.array([0.9, 0.8, 0.3, 0.2, 0.1])
        fraud = np.array([1.0, 0.0, 1.0, 0.0, 0.0])

        ours = bootstrap_average_precision(fraud, np.column_stack([score, 2 * score]), seed=9, resamples=50)

        assert (ours[:, 0] == ours[:, 1]).all()
        assert ours[:, 0].std() > 0

    def test_recall_counts_the_frauds_above_a_threshold_that_few_honest_rows_reach(self):
        fraud = np.array([1, 1, 0, 1] + [0] * 399)
        score = np.concatenate([[0.9, 0.8, 0.7, 0.6], np.linspace(0.5, 0.1, 399)])

        assert recall_at_fpr(fraud, score, 0.0) == pytest.approx(2 / 3)
        assert recall_at_fpr(fraud, score, 0.005) == 1.0  # one of 400 honest rows is above 0.6

    def test_every_metric_stands_beside_its_base_rate(self):
        metrics = evaluate(np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9]), seed=1)

        assert metrics["base_rate"] == 0.25
        assert metrics["average_precision"] == 1.0
        assert metrics["brier"] == pytest.approx((0.01 + 0.04 + 0.09 + 0.01) / 4)


class TestRefusals:
    def part(self, positives: int, rows: int) -> Part:
        fraud = np.arange(rows) < positives
        return Part(pa.table({"x": np.arange(rows)}), fraud.astype(float), np.zeros(rows))

    def test_one_class_only_is_refused_with_the_counts_of_every_part(self):
        parts = {"fit": self.part(0, 100), "validation": self.part(5, 50), "test": self.part(5, 50)}

        with pytest.raises(TrainingRefusedError, match=r"fit 0 of 100, validation 5 of 50, test 5 of 50"):
            check_parts(parts)

    def test_fewer_than_fifty_frauds_are_a_warning(self):
        few = {"fit": self.part(20, 100), "validation": self.part(5, 50), "test": self.part(5, 50)}
        enough = {**few, "fit": self.part(40, 100)}

        assert check_parts(few)[0].startswith("Only 30 known frauds")
        assert check_parts(enough) == []

    def test_without_mlflow_the_error_says_where_it_was_looked_for_and_what_to_run(self):
        settings = Settings.from_env({"MLFLOW_PORT": "9"})

        with pytest.raises(TrackingUnavailableError, match=r"http://127\.0\.0\.1:9 did not answer.*make up"):
            wait_for_mlflow(settings, seconds=0)
