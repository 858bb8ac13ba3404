"""Every verb of Feast's command line works on a repo of windowed views, as it does on any other."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from applied_repo import FEAST
from engine_lab import Lab, client, event
from free_ports import free_port
from stream_lab import until

DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import String

from plumbline import aggregate, windowed_view

times = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}
user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
events = FileSource(name="events", path="log", **times)
payments = PushSource(name="payments", batch_source=events, tags={"allowed_lateness": "1d"})
NAME = windowed_view(
    name="NAME",
    entities=[user],
    source=payments,
    aggregations=aggregate("amount_cents", ["sum", "count"], over="1h"),
    description="How much a user spends",
)
profile = FeatureView(
    name="profile",
    entities=[user],
    ttl=timedelta(days=30),
    schema=[Field(name="category", dtype=String)],
    source=FileSource(name="profiles", path="log", **times),
)
service = FeatureService(name="service", features=[NAME, profile])
"""
MINUTE = 60_000_000


def feast(lab: Lab, *arguments: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command(lab, *arguments), check=False, capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def command(lab: Lab, *arguments: str) -> list[str]:
    return [*FEAST, "--chdir", str(lab.path), *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"TZ": "UTC", "PYTHONWARNINGS": "ignore"}


@contextmanager
def running(lab: Lab, *arguments: str) -> Iterator[subprocess.Popen]:
    """A command that serves until it is ended."""
    with (lab.path / "served.log").open("w") as log:
        process = subprocess.Popen(command(lab, *arguments), stdout=log, stderr=log, env=environment())
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def asked(url: str, body: dict | None = None) -> str | None:
    """What an address answers; None while nobody does."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return None


def declared(lab: Lab, name: str = "spending") -> None:
    (lab.path / "definitions.py").write_text(DEFINITIONS.replace("NAME", name))


@pytest.fixture(scope="module")
def lab(tmp_path_factory, redis_server):
    """A repo applied and materialized from the command line: ann paid 40 half an hour ago and 2 two hours ago."""
    lab = Lab(tmp_path_factory.mktemp("verbs"), redis_server)
    now = time.time_ns() // 1000
    lab.write([event(now - 30 * MINUTE, 1, amount_cents=40), event(now - 120 * MINUTE, 2, amount_cents=2)])
    declared(lab)
    feast(lab, "apply")
    feast(lab, "materialize-incremental", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return lab


def test_plan_tells_of_a_view_to_come_and_changes_nothing(lab, tmp_path_factory):
    declared(lab, name="outlay")

    told = feast(lab, "plan")

    declared(lab)
    assert "outlay" in told
    assert [view.name for view in lab.open().list_stream_feature_views()] == ["spending"]


def test_a_view_is_listed_and_described(lab):
    listed = feast(lab, "stream-feature-views", "list")
    described = feast(lab, "stream-feature-views", "describe", "spending")

    assert "spending" in listed
    assert "amount_cents_sum_1h" in described
    assert "How much a user spends" in described


def test_the_stock_feature_server_answers_with_windows_as_of_now(lab):
    port = free_port()
    body = {"feature_service": "service", "entities": {"user_id": ["ann", "nobody"]}, "full_feature_names": True}
    with running(lab, "serve", "--port", str(port)):
        text = until(lambda: asked(f"http://127.0.0.1:{port}/get-online-features", body), within_s=240)

    answer = json.loads(text)
    values = {n: r["values"] for n, r in zip(answer["metadata"]["feature_names"], answer["results"], strict=True)}
    assert values["spending__amount_cents_sum_1h"] == [40, 0]
    assert values["profile__category"] == ["a", None]


def test_feasts_ui_shows_the_view(lab):
    port = free_port()
    with running(lab, "ui", "--port", str(port), "--host", "127.0.0.1"):
        page = until(lambda: asked(f"http://127.0.0.1:{port}/"), within_s=240)

    assert "<html" in page


def test_a_renamed_view_starts_anew_and_leaves_nothing_under_its_old_name(lab):
    declared(lab, name="outlay")
    feast(lab, "apply")
    declared(lab)
    store = lab.open()

    assert [view.name for view in store.list_stream_feature_views()] == ["outlay"]
    answer = store.get_online_features(["outlay:amount_cents_sum_1h"], [{"user_id": "ann"}]).to_dict()
    assert answer["amount_cents_sum_1h"] == [0]
    assert not [key for key in keys(lab) if b"spending" in key]


def test_teardown_leaves_no_key_of_the_project(lab):
    assert keys(lab)

    feast(lab, "teardown")

    assert keys(lab) == []


def keys(lab: Lab) -> list[bytes]:
    project = lab.open().project.encode()
    with client(lab) as everything:
        return [key for key in everything.scan_iter() if project in key]
