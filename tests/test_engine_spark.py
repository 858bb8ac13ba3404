"""The distributed engine gives the same training features, on threads and on processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from engine_lab import Lab, differences, history
from histories import BASES, History, examples, histories
from hypothesis import given


@pytest.mark.parametrize("as_known", [False, True], ids=["happened", "as known"])
def test_the_spark_engine_gives_the_same_answers(as_known, tmp_path, redis_server, spark, monkeypatch):
    monkeypatch.setattr("plumbline.spark.BUCKET_ROWS", range(400, 1_000))
    lab = Lab(tmp_path, redis_server, 'engine: spark, spark_master: "local[2]"')
    store = lab.applied()
    recorded = [apart(number, one) for number, one in enumerate(drawn(40))]
    lab.write(event for one in recorded for event in one.events)

    answers = iter(history(store, [row for one in recorded for row in one.rows], as_known=as_known).to_arrow().to_pylist())

    for one in recorded:
        assert not differences([next(answers) for _ in one.rows], one.events, one.rows, as_known=as_known)


@pytest.mark.long
def test_two_executor_processes_give_the_same_answers(tmp_path, redis_server):
    program = [sys.executable, str(Path(__file__).with_name("spark_cluster.py")), str(tmp_path), redis_server]

    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=900)

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["differences"] == []
    assert told["rows"] > 0
    assert set(told["tasks"]) == {"0", "1"}


def drawn(count: int) -> list[History]:
    """The histories of one run of Hypothesis: one log of all of them costs one job instead of one each."""
    found: list[History] = []

    @examples(count)
    @given(recorded=histories(base=BASES[0]))
    def collect(recorded: History) -> None:
        found.append(recorded)

    collect()
    return found


def apart(number: int, recorded: History) -> History:
    """The same history with entities, ids and partitions of its own."""

    def renamed(item: dict) -> dict:
        changes = {
            name: f"{number} {item[name]}" for name in ("user_id", "merchant_id", "event_id") if item.get(name) is not None
        }
        if item["device_id"] is not None:
            changes["device_id"] = item["device_id"] ^ number << 32
        if item.get("source_partition") is not None:
            changes["source_partition"] = item["source_partition"] + 2 * number
        return item | changes

    return History([renamed(e) for e in recorded.events], [renamed(r) for r in recorded.rows])
