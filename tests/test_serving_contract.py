"""Definitions that are applied while the service runs: new features are answered, a model of other ones is not asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from feast import FeatureService
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, running

from feature_repo.features.entities import user
from feature_repo.features.logs import transaction_columns, transactions
from feature_repo.features.user_activity import user_activity
from plumbline import aggregate, windowed_view


@pytest.fixture
def service(tmp_path: Path, empty_redis: str) -> Iterator[Service]:
    settings = lab_settings(tmp_path, f"{empty_redis},db=10")
    store = applied_store(settings)
    with running(settings, store, both_models(tmp_path, store)) as running_service:
        await_ready(running_service.client)
        yield running_service


def test_a_view_that_is_applied_is_answered_without_a_restart(service: Service):
    nights = windowed_view(
        name="user_nights",
        entities=[user],
        source=transactions,
        schema=transaction_columns,
        aggregations=aggregate("night_id", "count", over="1d"),
    )

    service.store.apply([nights])

    assert service.features("anna").json()["features"]["user_nights__night_id_count_1d"] == 0
    assert service.client.get("/readyz").status_code == 200


def test_a_model_is_not_asked_about_features_that_it_was_not_trained_on(service: Service):
    as_trained = service.store.get_feature_service("account_risk_v1")

    service.store.apply([FeatureService(name="account_risk_v1", features=[user_activity])])

    account, probe = service.score({"user_id": "anna"}), service.client.get("/readyz")
    for refused in (account, probe):
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:plumbline:problem:contract"
        assert "account_risk version 1 was trained on definitions" in refused.json()["what"]
        assert "make train" in refused.json()["remedy"]
    assert service.score({"user_id": "anna", "transaction": {}}).status_code == 200
    assert service.features("anna").status_code == 200

    service.store.apply([as_trained])

    assert service.score({"user_id": "anna"}).status_code == 200
    assert service.client.get("/readyz").status_code == 200
