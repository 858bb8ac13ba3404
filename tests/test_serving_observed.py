"""What the service says of itself: drift against the training's distribution, decay, freshness, and traces."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_lab import applied_store, await_ready, both_models, lab_settings, running, write_model

from pipelines.training.distribution import distribution
from serving.binding import bind_one
from serving.champions import Champion
from serving.drift import FEWEST, decayed_share
from serving.freshness import Freshness
from serving.metrics import Metrics
from serving.model_file import Model, ModelFileError, load_model
from serving.population import bins_of
from serving.traces import tracer_to

FEATURES = ["user_payments__payment_cents_sum_1d", "user_activity__event_id_count_1d"]


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Label values, in the order of the labels' names -> value, of every sample of a metric."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {tuple(s.labels.values()): s.value for family in families for s in family.samples if s.name == name}


def model_of(folder: Path, store: Any, rows: np.ndarray) -> Model:
    """A model whose contract says that its features were distributed as in `rows`, its scores evenly."""
    told = distribution(rows, FEATURES, np.linspace(0, 1, len(rows)))
    return load_model(write_model(folder, "account_risk", store, distribution=told), "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, own_store: str) -> Any:
    return applied_store(lab_settings(tmp_path_factory.mktemp("observed"), own_store))


def test_the_index_is_the_sum_over_bins_of_the_difference_of_shares_times_the_logarithm_of_their_ratio():
    bins = bins_of({"x": {"edges": [1.0, 2.0], "shares": [0.5, 0.25, 0.15, 0.1]}})["x"]
    now = np.array([0.0] * 40 + [1.0] * 30 + [2.0] * 20 + [math.nan] * 10)

    expected = -0.1 * math.log(0.4 / 0.5) + 0.05 * math.log(0.3 / 0.25) + 0.05 * math.log(0.2 / 0.15)
    assert bins.stability(now) == pytest.approx(expected)


def test_an_empty_bin_counts_as_half_a_row():
    bins = bins_of({"x": {"edges": [1.0], "shares": [1.0, 0.0, 0.0]}})["x"]

    assert bins.stability(np.array([0.0] * 50 + [5.0] * 50)) == pytest.approx(
        -0.5 * math.log(0.5) + (0.5 - 0.005) * math.log(0.5 / 0.005)
    )


def test_rows_like_those_of_the_training_are_stable_and_others_are_not(tmp_path: Path, store: Any):
    random, metrics = np.random.default_rng(1), Metrics()
    rows = random.exponential(100, (4_000, 2)).round()
    rows[:400, 1] = math.nan
    model = model_of(tmp_path / "m", store, rows)
    assert all(bins.shares.sum() == pytest.approx(1) for bins in model.distribution.values())

    metrics.drift.seen(model, rows, list(np.linspace(0, 1, len(rows))))
    stable = samples(metrics, "plumbline_population_stability")
    moved = Metrics()
    moved.drift.seen(model, rows * [3, 1], [0.99] * len(rows))
    drifted = samples(moved, "plumbline_population_stability")

    assert stable == pytest.approx(dict.fromkeys([(name, "account_risk", "1") for name in [*FEATURES, "score"]], 0.0))
    assert drifted[FEATURES[0], "account_risk", "1"] > 0.25
    assert drifted[FEATURES[1], "account_risk", "1"] == pytest.approx(0)
    assert drifted["score", "account_risk", "1"] > 0.25


def test_few_answers_and_a_model_without_a_distribution_say_nothing(tmp_path: Path, store: Any):
    rows, few, old = np.zeros((FEWEST, 2)), Metrics(), Metrics()
    few.drift.seen(model_of(tmp_path / "m", store, rows), rows[1:], [0.5] * (FEWEST - 1))
    old.drift.seen(load_model(write_model(tmp_path / "old", "account_risk", store), "1"), rows, [0.5] * FEWEST)

    assert samples(few, "plumbline_population_stability") == {}
    assert samples(old, "plumbline_population_stability") == {}


def test_a_distribution_that_makes_no_sense_is_refused(tmp_path: Path, store: Any):
    folder = write_model(tmp_path / "m", "account_risk", store, distribution={"x": {"edges": [1.0], "shares": [1.0]}})

    with pytest.raises(ModelFileError, match=r"contract\.json .*shares"):
        load_model(folder, "1")


def test_the_decayed_share_is_that_of_shorter_windows_which_are_empty_while_the_longest_is_not():
    features = ["v__id_count_10m", "v__id_count_30d", "v__id_count_1h", "v__cents_sum_10m", "w__other_count_1d"]
    rows = np.array(
        [
            [0, 5, 1, 0, 0],  # one of two decayed
            [0, 5, 0, 0, 0],  # both
            [2, 5, 2, 9, 0],  # neither
            [0, 0, 0, 0, 0],  # no events at all: nothing could decay
        ],
        dtype=float,
    )

    assert decayed_share(features, rows) == pytest.approx(3 / 6)
    assert decayed_share(["v__cents_sum_10m"], rows[:, :1]) is None


def test_a_view_that_stands_still_grows_old_and_its_lag_is_told():
    freshness = Freshness()
    view = {"topic": "transactions", "positions": {"0": 7}, "lag_records": 3}
    freshness.look({"views": {"moves": view, "stands": view, "unfolded": view | {"lag_records": None}}}, now_s=-100.0)
    freshness.look({"views": {"moves": view | {"positions": {"0": 8}}, "stands": view}}, now_s=-10.0)

    lag, age = freshness.collect()
    ages = {sample.labels["view"]: sample.value for sample in age.samples}
    assert {sample.labels["view"]: sample.value for sample in lag.samples} == {"moves": 3, "stands": 3}
    assert ages["stands"] - ages["moves"] == pytest.approx(90, abs=1)


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An OTLP receiver: its address, and the spans that it was sent."""
    spans: list[dict[str, Any]] = []

    class Receives(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/json")
            spans.extend(span for of in sent["resourceSpans"] for scope in of["scopeSpans"] for span in scope["spans"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receives)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()


def test_a_score_is_traced_from_the_callers_span_to_the_read_of_the_store_and_names_no_user(
    tmp_path: Path, store: Any, own_store: str
):
    settings = lab_settings(tmp_path, own_store)
    caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

    with receiver() as (address, spans):
        tracer = tracer_to(address)
        with running(settings, store, both_models(tmp_path, store), tracer) as service:
            await_ready(service.client)
            assert service.score({"user_id": "somebody-special"}, **caller).status_code == 200
        tracer.span_processor.shutdown()
        found = list(spans)

    request = next(span for span in found if span["name"] == "POST /v1/score")
    batch = next(span for span in found if span["name"] == "score")
    children = {span["name"] for span in found if span.get("parentSpanId") == batch["spanId"]}
    attributes = {each["key"]: next(iter(each["value"].values())) for each in request["attributes"]}
    assert (request["traceId"], request["parentSpanId"], request["kind"]) == (
        caller["traceparent"][3:35],
        caller["traceparent"][36:52],
        2,
    )
    assert (attributes["http.route"], attributes["http.response.status_code"]) == ("/v1/score", "200")
    assert [link["spanId"] for link in batch["links"]] == [request["spanId"]]
    assert children == {"store.read", "model"}
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in found)
    assert "somebody-special" not in json.dumps(found)


def test_without_a_receivers_address_nothing_is_traced_and_a_receiver_that_is_away_costs_no_answer(
    tmp_path: Path, store: Any, own_store: str
):
    with running(
        lab_settings(tmp_path, own_store), store, both_models(tmp_path, store), tracer_to("http://127.0.0.1:1")
    ) as service:
        await_ready(service.client)
        assert service.score({"user_id": "anna"}).status_code == 200
    assert not tracer_to("").start_span("x").is_recording()


def test_answers_that_were_served_are_those_that_drift_is_told_of(tmp_path: Path, store: Any, own_store: str):
    settings = lab_settings(tmp_path, own_store)
    told = distribution(np.zeros((100, 2)), FEATURES, np.full(100, 0.5))
    model = bind_one(
        store, Champion("account_risk", "1", write_model(tmp_path / "m", "account_risk", store, distribution=told))
    )

    with running(settings, store, {"account_risk": model}) as service:
        await_ready(service.client)
        for number in range(FEWEST // 100):
            requests = [{"user_id": f"nobody-{number}-{n}"} for n in range(100)]
            assert service.client.post("/v1/score/batch", json={"requests": requests}).status_code == 200
        found = samples(service.metrics, "plumbline_population_stability")

    assert found[FEATURES[0], "account_risk", "1"] == pytest.approx(0, abs=1e-9)
    assert found["score", "account_risk", "1"] >= 0
