"""Feast's own command line applies and materializes windowed views of a repo that only names the three plug-ins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_lab import NOON, Lab, as_of, event, instant

DEFINITIONS = """
from feast import Entity, FileSource, PushSource, ValueType

from plumbline import aggregate, windowed_view

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
payments = PushSource(
    name="payments",
    batch_source=FileSource(
        path="log", timestamp_field="event_timestamp", created_timestamp_column="created_timestamp"
    ),
    tags={"allowed_lateness": "1d"},
)
spending = windowed_view(
    name="spending",
    entities=[user],
    source=payments,
    aggregations=aggregate("amount_cents", FUNCTION, over="1h"),
)
"""


@pytest.fixture
def lab(tmp_path, redis_server):
    return Lab(tmp_path, redis_server)


def feast(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("feast")), "--chdir", str(lab.path), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=os.environ | {"TZ": "UTC"})


def test_apply_and_materialize_from_the_command_line(lab):
    (lab.path / "definitions.py").write_text(DEFINITIONS.replace("FUNCTION", '["sum", "count"]'))
    lab.write([event(NOON, 1, amount_cents=40), event(NOON + 1, 2, amount_cents=2)])

    applied = feast(lab, "apply")
    materialized = feast(lab, "materialize", "2024-01-01T00:00:00", "2024-07-01T00:00:00")

    assert (applied.returncode, materialized.returncode) == (0, 0), applied.stderr + materialized.stderr
    with as_of(instant(NOON + 2)):
        response = lab.open().get_online_features(["spending:amount_cents_sum_1h"], [{"user_id": "ann"}])
    assert response.to_dict()["amount_cents_sum_1h"] == [42]


def test_apply_refuses_in_one_sentence_and_registers_nothing(lab):
    (lab.path / "definitions.py").write_text(DEFINITIONS.replace("FUNCTION", '"median"'))

    applied = feast(lab, "apply")

    assert applied.returncode != 0
    last_line = applied.stderr.strip().splitlines()[-1]
    assert "'median'" in last_line
    assert "count, sum, mean" in last_line
    assert lab.open().list_stream_feature_views() == []
