"""What a score is worth, by figures that can be checked by hand."""

import numpy as np
import pytest

from pipelines.evaluate import calibration
from pipelines.worth import by_group, card_precision, money_saved, recall_by_scenario

DAY = 86_400_000_000


def test_money_saved_is_what_alerts_stop_less_their_cost_beside_the_oracle():
    flagged = np.array([True, True, False, False])
    loss = np.array([10_000.0, 0.0, 5_000.0, 300.0])  # a fraud of 3.00 is not worth an alert of 7.00

    money = money_saved(flagged, loss, alert_cents=700)

    assert money["saved_cents"] == 10_000 - 2 * 700
    assert money["oracle_cents"] == (10_000 - 700) + (5_000 - 700)
    assert money["share_of_oracle"] == pytest.approx(8_600 / 13_600)
    assert money_saved(flagged, np.zeros(4), 700)["share_of_oracle"] == 0.0


def test_card_precision_is_the_mean_over_days_of_the_riskiest_users_with_a_fraud():
    user = np.array(["ann", "ann", "bob", "cat", "ann", "bob", "cat"])
    day = np.array([0, 0, 0, 0, 1, 1, 1]) * DAY
    fraud = np.array([1, 0, 0, 0, 0, 1, 1])
    score = np.array([0.1, 0.9, 0.5, 0.2, 0.9, 0.8, 0.1])

    [one, two] = card_precision(user, day, fraud, score, cards=(1, 2, 3))  # 3 of 3 users is no choice

    # one card:  day 0 ann (fraud)       day 1 ann (honest)
    assert (one["precision"], one["perfect"], one["days"]) == (0.5, 1.0, 2)
    # two cards: day 0 ann, bob -> 1/2   day 1 ann, bob -> 1/2;  perfect: 1/2 and 2/2
    assert (two["precision"], two["perfect"]) == (0.5, 0.75)
    assert two["random"] == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_recall_by_scenario_counts_frauds_above_the_threshold_that_few_honest_rows_reach():
    fraud = np.array([1, 1, 1, 1, *[0] * 200])
    score = np.array([0.9, 0.8, 0.05, 0.7, *np.linspace(0.6, 0.1, 200)])
    scenario = np.array(["takeover", "takeover", "testing", None, *[None] * 200], dtype=object)

    found = recall_by_scenario(fraud, score, scenario)

    assert found == {
        "takeover": {"frauds": 2, "recall": 1.0},
        "testing": {"frauds": 1, "recall": 0.0},
        "unknown": {"frauds": 1, "recall": 1.0},
    }


def test_groups_are_compared_by_who_is_refused_among_the_good_and_the_bad():
    fraud = np.array([0, 0, 1, 0, 1])
    refused = np.array([True, False, True, False, False])
    age = np.array(["young", "young", "young", "old", "old"])

    found = by_group(fraud, refused, age)

    assert found["young"] == {
        "rows": 3, "base_rate": pytest.approx(1 / 3), "refused": pytest.approx(2 / 3), "good_refused": 0.5, "bad_refused": 1.0,
    }  # fmt: skip
    assert (found["old"]["good_refused"], found["old"]["bad_refused"]) == (0.0, 0.0)


def test_calibration_compares_mean_score_and_share_of_frauds_in_ten_equal_groups():
    score = np.repeat([0.1, 0.5], 50)
    fraud = np.concatenate([np.tile([1] + [0] * 9, 5), np.ones(50)])

    found = calibration(fraud, score)

    assert [group["rows"] for group in found["bins"]] == [10] * 10
    assert found["expected_error"] == pytest.approx(0.25)  # half of the rows are right, half are 0.5 away
    assert (found["expected_frauds"], found["known_frauds"]) == (pytest.approx(30), 55)
