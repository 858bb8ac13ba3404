"""The models that `make train` compares: what each may look at, and what thinning, folds and added frauds leave as it was."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score

from pipelines.training import boosting
from pipelines.training.encoding import Encoding
from pipelines.training.folds import FOLDS, fewer, fold_splits
from pipelines.training.oversampling import smote
from pipelines.training.parts import Part
from pipelines.training.rivals import FULL, Rows
from pipelines.training.split import Split
from pipelines.training.thinning import thinned
from pipelines.training.tuning import tuned
from pipelines.training.unreported import on_unreported_users

DAY = 86_400_000_000
ENCODING = Encoding(("speed", "amount", "colour"), {"colour": ["red", "blue"]})


def rows(seed: int, count: int = 1_500) -> Rows:
    """Fraud is likely where speed is high; amount says nothing and is missing now and then, colour is a category."""
    random = np.random.default_rng(seed)
    speed, amount = random.exponential(1.0, count), random.normal(0, 1, count)
    fraud = (random.random(count) < 1 / (1 + np.exp(6 - 2.5 * speed))).astype(float)
    amount[::17] = np.nan
    return np.column_stack([speed, amount, random.integers(0, 2, count)]), fraud


class TestThinning:
    FRAUD = np.tile([1.0] + [0.0] * 99, 100)

    def test_all_frauds_stay_and_the_weighted_share_of_frauds_is_what_it_was(self):
        kept, weight = thinned(self.FRAUD, np.ones(10_000, dtype=bool), seed=1, most=990)

        assert kept.sum() == 100 + 990
        assert kept[self.FRAUD == 1].all()
        assert np.average(self.FRAUD[kept], weights=weight[kept]) == pytest.approx(0.01)

    def test_rows_outside_the_fit_part_are_left_alone(self):
        fit = np.arange(10_000) < 5_000

        kept, weight = thinned(self.FRAUD, fit, seed=1, most=100)

        assert not kept[~fit].any()
        assert (weight[~fit] == 1).all()

    def test_a_small_log_is_not_thinned(self):
        kept, weight = thinned(self.FRAUD, self.FRAUD == self.FRAUD, seed=1)

        assert kept.all()
        assert (weight == 1).all()

    def test_a_fold_is_fitted_on_fewer_honest_rows_that_weigh_as_many_as_there_were(self):
        number = np.arange(10_000)
        part = Part(pa.table({"number": number}), self.FRAUD, number / 2, np.where(self.FRAUD == 1, 1.0, 3.0))

        few = fewer(part, seed=1, most=990)

        place = few.features["number"].to_numpy()
        assert len(place) == 100 + 990
        assert (few.fraud == self.FRAUD[place]).all()
        assert (few.loss_cents == place / 2).all()
        assert few.weight[few.fraud == 0].sum() == pytest.approx(9_900 * 3)
        assert (few.weight[few.fraud == 1] == 1).all()


class TestOversampling:
    def test_added_frauds_lie_between_frauds_and_honest_rows_stay(self):
        matrix = np.vstack([np.zeros((100, 2)), [[5.0, 5.0], [6.0, 7.0], [5.5, 6.0]]])
        fraud = np.array([0.0] * 100 + [1.0] * 3)

        more, labels = smote(matrix, fraud, seed=1)

        added = more[103:]
        assert np.array_equal(more[:103], matrix)
        assert labels.sum() == 10  # one for every ten honest rows
        assert ((added >= [5, 5]) & (added <= [6, 7])).all()

    def test_one_fraud_has_no_neighbour_and_stays_alone(self):
        matrix, fraud = np.arange(50.0)[:, None], np.array([1.0] + [0.0] * 49)

        assert smote(matrix, fraud, seed=1)[1].sum() == 1


class TestFolds:
    def test_four_tests_follow_each_other_to_the_end_each_a_label_delay_after_its_training(self):
        split = Split(0, 70 * DAY, 77 * DAY, 100 * DAY)

        folds = fold_splits(split)

        assert len(folds) == FOLDS
        assert {fold.gap_end - fold.train_end for fold in folds} == {7 * DAY}
        assert [later.gap_end for later in folds[1:]] == [fold.test_end for fold in folds[:-1]]
        assert folds[-1].test_end == 100 * DAY

    def test_a_fold_without_time_to_train_is_left_out(self):
        assert len(fold_splits(Split(0, 40 * DAY, 90 * DAY, 100 * DAY))) < FOLDS


class TestRivals:
    @pytest.mark.parametrize("name", FULL)
    def test_every_rival_finds_what_there_is_and_repeats_itself(self, name):
        test, fraud = rows(3)

        score, again = (FULL[name](ENCODING, rows(1), rows(2), 7, None)(test) for _ in range(2))

        assert average_precision_score(fraud, score) > 2 * fraud.mean()
        assert np.array_equal(score, again)

    def test_xgboost_gives_rows_that_stand_for_several_their_weight(self):
        (matrix, fraud), validation = rows(1), rows(2)
        kept = np.flatnonzero((fraud == 1) | (np.arange(len(fraud)) % 10 == 0))
        weight = np.where(fraud[kept] == 1, 1.0, 10.0)

        weighted, plain = (
            float(expit(FULL["xgboost"](ENCODING, (matrix[kept], fraud[kept]), validation, 7, given)(validation[0])).mean())
            for given in (weight, None)
        )

        assert weighted < 1.5 * validation[1].mean()
        assert plain > 2 * validation[1].mean()

    def test_searched_parameters_are_the_same_for_a_seed_and_not_worse_on_validation_than_the_usual_ones(self):
        fit, validation = rows(1), rows(2)

        found, again = (tuned(ENCODING, fit, validation, seed=5) for _ in range(2))

        worth = [
            average_precision_score(validation[1], boosting.margin(booster, validation[0]))
            for booster in (boosting.fit(ENCODING, *fit, *validation, 5, changes=changes) for changes in (found, None))
        ]
        assert found == again
        assert worth[0] >= worth[1]


def test_users_with_a_report_in_the_last_14_days_are_left_out_of_the_second_look():
    features = pa.table({"user_chargebacks__fraud_id_count_14d": [0, 2, None, 0]})
    test = Part(features, np.array([1.0, 1.0, 0.0, 0.0]), np.zeros(4))

    metrics = on_unreported_users(test, np.array([0.9, 0.1, 0.2, 0.3]), seed=1)

    assert metrics is not None
    assert (metrics["rows"], metrics["positives"], metrics["average_precision"]) == (3, 1, 1.0)
