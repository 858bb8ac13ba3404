"""Credit applications through the same doors as transactions; all applicants here are made up by `applicants`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from ingest_lab import written
from mlflow import MlflowClient
from sklearn.metrics import roc_auc_score

from feature_repo.settings import Settings
from pipelines.credit import german
from pipelines.credit.__main__ import credit, evaluate_credit, told
from pipelines.credit.worth import REFUSE_FROM, cost, credit_figures, fairness, without_a_model
from pipelines.ingest.refusals import LoadRefused
from pipelines.training.odd_columns import odd_columns
from pipelines.training.tracking import champion_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CODES = {0: ("A11", "A12", "A13", "A14"), 2: ("A30", "A32", "A34"), 5: ("A61", "A65"), 13: ("A141", "A143")}
APPLICANTS = 300


def applicants(count: int = APPLICANTS, seed: int = 5) -> str:
    """Lines in the shape of german.data, by a rule: an applicant is bad with probability
    expit(duration / 12 - 2.5 + 1 where the checking account is A11 - 2 where it is A14)."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        fields = ["A43" if at in (3, 9, 11) else "1" for at in range(20)]
        for at, codes in CODES.items():
            fields[at] = str(random.choice(codes))
        duration = int(random.integers(4, 60))
        fields[1], fields[4], fields[12] = str(duration), str(random.integers(250, 9_000)), str(random.integers(19, 75))
        odds = duration / 12 - 2.5 + (fields[0] == "A11") - 2 * (fields[0] == "A14")
        fields.append("2" if random.random() < 1 / (1 + np.exp(-odds)) else "1")
        lines.append(" ".join(fields))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, spark: "SparkSession", redis_server: str) -> tuple[Settings, dict]:
    """`make credit` on a file in the shape of german.data: its settings and its report."""
    folder = tmp_path_factory.mktemp("credit")
    settings = Settings.from_env(
        {
            "DATA_DIR": str(folder / "data"),
            "REDIS_CONNECTION_STRING": f"{redis_server},db=15",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        }
    )
    return settings, credit(settings, written(folder / "german.data", applicants()), None, spark=spark)


@pytest.mark.slow
def test_every_applicant_is_scored_by_a_model_that_never_saw_him_and_reported_beside_doing_without(applied):
    settings, report = applied

    assert report["applicants"] == APPLICANTS
    assert report == json.loads((settings.reports_path / "credit.json").read_text())
    low, high = report["auc_ci"]
    assert 0.6 < low < high < 0.95  # the rule leaves much to chance
    assert report["cost_ci"][0] < report["cost"] < report["cost_ci"][1]
    assert report["models"]["always_good"]["cost"] == pytest.approx(5 * report["base_rate"])
    assert report["models"]["always_bad"]["cost"] == pytest.approx(1 - report["base_rate"])
    assert report["cost"] < min(report["models"][name]["cost"] for name in ("always_good", "always_bad"))


def test_the_model_is_registered_with_its_decision_and_rests_on_attributes_alone(applied):
    settings, report = applied
    client = MlflowClient(settings.mlflow_tracking_uri)

    assert report["gate"]["promoted"]
    assert champion_version(client, "credit_default") == report["model_version"]
    assert client.get_run(report["mlflow_run_id"]).data.tags["feature_service"] == "credit_default_v1"
    assert set(report["features"]) >= {"user_attributes__checking_account", "user_attributes__duration_months"}
    assert all(name.startswith("user_attributes__") for name in report["features"])


def test_columns_that_say_nothing_are_named_and_refusals_are_told_by_age(applied):
    _, report = applied

    assert any("user_attributes__job was left out" in note for note in report["left_out"])
    assert sum(band["rows"] for band in report["fairness_by_age"].values()) == APPLICANTS
    said = "\n".join(told(report))
    assert "always_good" in said
    assert "age 25 to 39" in said


def test_applications_do_not_replace_the_transactions(applied):
    settings, _ = applied

    assert not settings.events_dir.exists()
    assert (settings.data_dir / "credit" / "events" / "transactions").exists()


def test_german_data_is_known_by_its_first_line_and_a_damaged_line_is_named(tmp_path):
    source = written(tmp_path / "german.data", applicants(3) + "A11 6 A34\n")
    other = written(tmp_path / "other.csv", "a,b\n1,2\n")

    assert german.is_german(source)
    assert not german.is_german(other)
    with pytest.raises(LoadRefused, match="line 4: 3 fields"):
        german.with_header(source, tmp_path)


def test_a_third_class_of_german_data_is_refused_instead_of_being_counted_as_good(tmp_path):
    third = applicants(1).rstrip()[:-1] + "3\n"

    with pytest.raises(LoadRefused, match="line 3: class '3'"):
        german.with_header(written(tmp_path / "german.data", applicants(2) + third), tmp_path)


def portfolio(rows: int = 1_200) -> tuple[pa.Table, np.ndarray]:
    """Loans as a "pays on time" portfolio has them: a trend with numbers among its words, salaries that nobody earns, and
    `puntaje`, which is the outcome under another name."""
    random = np.random.default_rng(11)
    bad = (random.random(rows) < 0.2).astype(float)
    trend = random.choice(["Creciente", "Estable", "Decreciente"], rows).astype(object)
    trend[:30] = [f"{1_000 + n}" for n in range(30)]
    salary = random.lognormal(14.5, 0.5, rows)
    salary[:3] = 2.2e10
    columns = {
        "tendencia_ingresos": trend,
        "salario_cliente": salary,
        "puntaje": np.where(bad == 1, random.normal(20, 4, rows), random.normal(95, 3, rows)),
        "puntaje_datacredito": random.normal(700, 80, rows) - 70 * bad,
        "huella_consulta": random.poisson(2 + 2 * bad),
    }
    return pa.table({f"user_attributes__{name}": values for name, values in columns.items()}), bad


def test_of_a_portfolio_the_column_that_is_the_label_is_caught_and_named_before_training():
    features, bad = portfolio()
    said: list[str] = []

    report = evaluate_credit(features, bad, seed=1, say=said.append)

    assert said[0].startswith("WARNING user_attributes__puntaje alone tells fraud from honest rows")
    assert "user_attributes__puntaje" not in report["features"]
    assert "user_attributes__puntaje_datacredito" in report["features"]
    assert report["auc_10_fold"] < 0.95


def test_numbers_among_words_and_absurd_salaries_are_warned_about():
    features, _ = portfolio()

    trend, salary = odd_columns(features)

    assert trend.startswith("user_attributes__tendencia_ingresos: 30 of 1,200 texts are numbers ('1000', ...) among words")
    assert salary.startswith("user_attributes__salario_cliente: 3 of 1,200 values are more than 100 times the 99th percentile")


def test_cost_counts_a_bad_applicant_accepted_five_times_a_good_one_refused():
    bad = np.array([1, 1, 0, 0])
    score = np.array([0.5, 0.1, 0.3, 0.05])  # refused from 1/6

    assert pytest.approx(1 / 6) == REFUSE_FROM
    assert cost(bad, score) == (5 + 1) / 4
    assert without_a_model(bad)["always_good"]["cost"] == 2.5
    assert without_a_model(bad)["always_bad"]["cost"] == 0.5


def test_refusals_are_compared_by_band_of_age():
    found = fairness(np.array([0, 1, 0]), np.array([0.9, 0.9, 0.1]), np.array([24, 30, np.nan]))

    assert {name: band["refused"] for name, band in found.items()} == {"under 25": 1.0, "25 to 39": 1.0, "unknown": 0.0}


def test_the_fixture_is_made_anew_by_its_rule(tmp_path: Path):
    assert applicants(20) == applicants(20)
    assert german.is_german(written(tmp_path / "g.data", applicants(20)))


def test_the_interval_of_the_auc_is_that_of_scikit_learns_auc_of_the_same_resamples():
    random = np.random.default_rng(3)
    bad = (random.random(200) < 0.3).astype(float)
    score = np.round(random.random(200) + 0.3 * bad, 1)  # many ties
    draws = np.random.default_rng(5)
    resamples = [draws.integers(0, 200, 200) for _ in range(1_000)]

    figures = credit_figures(bad, score, np.array_split(np.arange(200), 2), seed=5)

    expected = np.percentile([roc_auc_score(bad[rows], score[rows]) for rows in resamples], [2.5, 97.5])
    assert figures["auc_ci"] == pytest.approx(list(expected))
