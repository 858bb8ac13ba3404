"""Somebody else's card data trains without code: the views that are there carry what such data can tell."""

import json

import pytest
from applied_repo import apply_definitions
from card_world import UNTIL_US, write_card_world

from feature_repo.settings import Settings
from pipelines.leakage.ground import Ground, honest_ground
from pipelines.training.encoding import choose_encoding
from pipelines.training.study import STATELESS, fitted
from pipelines.training.unreported import on_unreported_users

LABEL_DELAY_S = 7 * 86_400


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, redis_server: str) -> Ground:
    data_dir = tmp_path_factory.mktemp("cards")
    settings = Settings.from_env({"DATA_DIR": str(data_dir), "REDIS_CONNECTION_STRING": f"{redis_server},db=12"})
    write_card_world(settings, LABEL_DELAY_S * 1_000_000)
    settings.reports_path.mkdir()
    (settings.reports_path / "load.json").write_text(json.dumps({"label_delay_s": LABEL_DELAY_S}))
    return honest_ground(apply_definitions(settings), settings, UNTIL_US, seed=7)


def precision(ground: Ground, names: list[str]) -> float:
    """Average precision on test rows of customers nothing was reported of, by a model that sees some features."""
    parts = ground.parts
    score = fitted(parts["fit"], parts["validation"], ground.seed, names)(parts["test"].features)
    metrics = on_unreported_users(parts["test"], score, ground.seed)
    assert metrics is not None
    return metrics["average_precision"]


def test_windows_and_reported_risk_by_customer_and_terminal_carry_the_model(ground):
    names = ground.asked.features.column_names
    no_reports = [name for name in names if "_chargebacks__" not in name]

    everything, without_reports, alone = (precision(ground, chosen) for chosen in (names, no_reports, list(STATELESS)))

    assert everything > 1.5 * without_reports
    assert without_reports > 1.1 * alone
    assert everything > 0.5


def test_columns_that_the_data_lacks_are_left_out_with_a_note(ground):
    fit = ground.parts["fit"].features

    encoding, notes = choose_encoding(fit, fit.column_names)

    assert "transaction_context__country was left out: it is null in every fit row." in notes
    assert {"merchant_chargebacks__is_fraud_mean_30d", "user_payments__payment_cents_mean_7d"} <= set(encoding.features)
