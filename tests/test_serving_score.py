"""What the service answers: scores, decisions, reasons, features, and which events they rest on."""

import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from serving_lab import (
    LARGE_CENTS,
    Service,
    applied_store,
    await_ready,
    both_models,
    lab_settings,
    payment,
    push,
    running,
)

from plumbline import as_of
from serving.messages import BatchResponse, FeaturesResponse, ScoreRequest, ScoreResponse, Transaction
from serving.scoring import entity_row

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)")
HOSTILE_IDS = [
    "<script>alert(1)</script>",
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "a/b?c=d&e#f%20",
    "{shard}:*\\",
    "Zoë 漢字 🙂 \u202eevil",
    "x" * 256,
]


@pytest.fixture(scope="module")
def now() -> datetime:
    """When these tests began: the whole run began long before."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, own_store: str, now: datetime):
    data_dir = tmp_path_factory.mktemp("serving")
    settings = lab_settings(data_dir, own_store)
    store = applied_store(settings)
    push(
        store,
        [
            payment("anna", "a1", now - timedelta(minutes=30), 1_000, offset=0),
            payment("anna", "a2", now - timedelta(minutes=20), 3_000, offset=1),
            payment("anna", "a3", now - timedelta(seconds=90), 500, offset=2),
        ],
    )
    with running(settings, store, both_models(data_dir, store)) as running_service:
        await_ready(running_service.client)
        yield running_service


def test_a_transaction_is_scored_on_the_history_of_its_user(service: Service):
    response = service.score({"user_id": "anna", "transaction": {"event_type": "payment", "amount_cents": 100}})

    answer = response.json()
    ScoreResponse.model_validate(answer)
    assert response.status_code == 200
    assert answer["user_id"] == "anna"
    assert answer["known"] is True
    assert answer["decision"] == "approve"
    assert answer["score"] < 0.3
    assert answer["model"] == {"name": "transaction_fraud", "version": "1"}
    assert answer["features"]["user_payments__payment_cents_sum_1h"] == 4_500
    assert answer["features"]["user_payments__payment_id_count_1h"] == 3
    assert answer["features"]["transaction_context__amount_cents"] == 100
    assert INSTANT.fullmatch(answer["as_of"])


def test_a_large_transaction_is_declined_and_the_amount_is_the_first_reason(service: Service):
    answer = service.score({"user_id": "anna", "transaction": {"amount_cents": 2 * LARGE_CENTS}}).json()

    assert answer["decision"] == "decline"
    assert answer["score"] > 0.7
    first = answer["reasons"][0]
    assert first["feature"] == "transaction_context__amount_cents"
    assert first["value"] == 2 * LARGE_CENTS
    assert first["contribution"] > 0
    sizes = [abs(reason["contribution"]) for reason in answer["reasons"]]
    assert sizes == sorted(sizes, reverse=True)


def test_an_approval_is_explained_only_when_asked(service: Service):
    request = {"user_id": "anna", "transaction": {"amount_cents": 100}}

    assert service.score(request).json()["reasons"] == []
    assert service.score({**request, "explain": True}).json()["reasons"] != []


def test_contributions_and_expectation_add_up_to_the_log_odds_of_the_score(service: Service):
    request = {"user_id": "anna", "transaction": {"amount_cents": 2 * LARGE_CENTS, "country": "DE"}}

    answer = service.score(request).json()
    baseline = service.score({"user_id": "anna", "transaction": {"amount_cents": 0, "country": "DE"}, "explain": True}).json()

    def expectation(scored: dict) -> float:
        log_odds = math.log(scored["score"] / (1 - scored["score"]))
        return log_odds - sum(reason["contribution"] for reason in scored["reasons"])

    assert len(answer["reasons"]) == 4  # all of this small model's features
    assert expectation(answer) == pytest.approx(expectation(baseline), abs=1e-9)


def test_without_a_transaction_the_account_is_scored(service: Service):
    answer = service.score({"user_id": "anna"}).json()

    assert answer["model"]["name"] == "account_risk"
    assert "transaction_context__amount_cents" not in answer["features"]


def test_what_a_score_rests_on_is_what_feasts_own_read_gives_value_by_value_and_type_by_type(service: Service):
    at = datetime.now(UTC)
    requests = [
        ScoreRequest(user_id=user, transaction=Transaction(amount_cents=cents, country=country, merchant_id=merchant))
        for user, cents, country, merchant in (
            ("anna", 750, "DE", "bakery"), ("anna", None, "FR", None), ("nobody", 1, None, "bakery"),
        )
    ]  # fmt: skip
    rows = [entity_row(request, at) for request in requests]

    answers = service.store.read_online("transaction_fraud_v1", rows, at=at)

    with as_of(at):
        asked = service.store.get_feature_service("transaction_fraud_v1")
        of_feast = service.store.get_online_features(asked, rows, full_feature_names=True).to_dict()
    assert set(answers[0].features) == set(of_feast) - set(rows[0])
    for i, answer in enumerate(answers):
        expected = {name: of_feast[name][i] for name in answer.features}
        assert answer.features == expected
        assert {name: type(value) for name, value in answer.features.items()} == {
            name: type(value) for name, value in expected.items()
        }


def test_an_unknown_user_has_the_features_of_an_empty_history(service: Service):
    answer = service.score({"user_id": "nobody", "transaction": {"amount_cents": 100}}).json()

    assert answer["known"] is False
    assert answer["features"]["user_payments__payment_id_count_1h"] == 0
    assert answer["features"]["user_payments__payment_cents_sum_1h"] == 0
    assert answer["features"]["user_payments__payment_cents_mean_30d"] is None


def test_a_user_is_unknown_although_the_merchant_is_known(service: Service):
    answer = service.score({"user_id": "nobody", "transaction": {"merchant_id": "bakery"}}).json()

    assert answer["features"]["merchant_activity__payment_id_count_7d"] == 3
    assert answer["known"] is False


def test_positions_say_up_to_which_offset_events_were_applied(service: Service):
    answer = service.features("anna").json()

    assert answer["positions"]["user_payments"]["0"] == 2
    assert answer["positions"]["user_activity"]["0"] == 2


def test_a_users_features_are_those_of_every_online_view_about_the_user_alone(service: Service):
    answer = service.features("anna").json()

    FeaturesResponse.model_validate(answer)
    views = {name.split("__")[0] for name in answer["features"]}
    assert views == {"user_activity", "user_payments", "user_novelty", "user_chargebacks"}  # no profile was loaded
    assert answer["known"] is True


def test_a_transaction_that_was_folded_already_does_not_see_itself(service: Service, now: datetime):
    third = (now - timedelta(seconds=90)).isoformat()

    answer = service.score(
        {"user_id": "anna", "transaction": {"event_id": "a3", "amount_cents": 500, "event_timestamp": third}}
    ).json()

    assert answer["features"]["user_payments__payment_id_count_1h"] == 2
    assert answer["as_of"] == third.replace("+00:00", "Z")


def test_a_sum_that_leaves_int64_is_null_and_counted(service: Service, now: datetime):
    def counted() -> float:
        line = re.search(r"^plumbline_overflowed_values_total (\S+)$", service.client.get("/metrics").text, re.MULTILINE)
        return float(line[1]) if line else math.nan

    push(service.store, [payment("rich", f"r{n}", now - timedelta(minutes=5), 2**62) for n in range(2)])
    before = counted()

    features = service.client.get("/v1/users/rich/features").json()["features"]
    after = counted()
    service.score({"user_id": "rich"})

    assert features["user_payments__payment_cents_sum_1d"] is None
    assert features["user_payments__payment_id_count_1h"] == 2
    assert after - before == sum(name.startswith("user_payments__payment_cents_sum") for name in features)
    assert counted() > after


@pytest.mark.parametrize("offset", ["Z", "+00:00", "+05:30"])
def test_as_of_comes_back_to_the_microsecond(service: Service, offset: str):
    answer = service.features("anna", as_of=f"2031-06-01T10:00:00.000001{offset}").json()

    expected = datetime.fromisoformat(f"2031-06-01T10:00:00.000001{offset}".replace("Z", "+00:00"))
    assert datetime.fromisoformat(answer["as_of"]) == expected
    assert INSTANT.fullmatch(answer["as_of"])


def test_windows_have_decayed_at_an_instant_in_the_future(service: Service, now: datetime):
    tomorrow = (now + timedelta(days=1)).isoformat()

    answer = service.features("anna", as_of=tomorrow).json()

    assert answer["features"]["user_payments__payment_id_count_1h"] == 0
    assert answer["features"]["user_payments__payment_id_count_7d"] == 3


def test_an_instant_older_than_the_head_is_refused_never_approximated(service: Service, now: datetime):
    long_ago = (now - timedelta(days=400)).isoformat()

    for response in (
        service.features("anna", as_of=long_ago),
        service.score({"user_id": "anna", "transaction": {"event_timestamp": long_ago}}),
    ):
        assert response.status_code == 422
        assert response.json()["type"] == "urn:plumbline:problem:as-of-too-old"


def test_a_batch_is_answered_in_the_order_asked_whatever_the_models(service: Service):
    requests = [
        {"user_id": f"u{number}", "transaction": {"amount_cents": 200 * number}} if number % 2 else {"user_id": f"u{number}"}
        for number in range(120)
    ]

    answer = service.client.post("/v1/score/batch", json={"requests": requests}).json()

    BatchResponse.model_validate(answer)
    assert [scored["user_id"] for scored in answer["responses"]] == [f"u{number}" for number in range(120)]
    assert [scored["model"]["name"] for scored in answer["responses"]][:2] == ["account_risk", "transaction_fraud"]
    assert len({scored["request_id"] for scored in answer["responses"]}) == 120


def test_a_batch_gives_the_scores_of_single_requests(service: Service):
    at = datetime.now(UTC).isoformat()
    requests = [
        {"user_id": "anna", "transaction": {"amount_cents": cents, "country": "DE", "event_timestamp": at}}
        for cents in (0, 20_000, LARGE_CENTS, 90_000)
    ]

    batch = service.client.post("/v1/score/batch", json={"requests": requests}).json()["responses"]

    assert [answer["score"] for answer in batch] == [service.score(request).json()["score"] for request in requests]


@pytest.mark.parametrize("user_id", HOSTILE_IDS)
def test_a_hostile_id_is_only_an_id(service: Service, user_id: str):
    answer = service.score({"user_id": user_id}).json()

    assert answer["user_id"] == user_id
    assert answer["known"] is False


@pytest.mark.parametrize("user_id", ["a/b", "a%b", "a?b#c", "<script>", "漢字", ".x", "x" * 256])
def test_a_hostile_id_in_a_path_is_only_an_id(service: Service, user_id: str):
    from urllib.parse import quote

    response = service.client.get(f"/v1/users/{quote(user_id, safe='')}/features")

    assert response.json()["user_id"] == user_id


def test_every_score_is_counted_by_model_and_decision_and_no_user_is_named(service: Service):
    service.score({"user_id": "mentioned-nowhere", "transaction": {"amount_cents": 2 * LARGE_CENTS}})

    text = service.client.get("/metrics").text

    assert 'plumbline_decisions_total{decision="decline",model="transaction_fraud"}' in text
    assert 'plumbline_http_requests_total{method="POST",route="/v1/score",status="200"}' in text
    assert "mentioned-nowhere" not in text
