"""A short chaos: kills, pauses and bad input lose nothing, double nothing and change no value."""

import json
import os
import subprocess
import sys
from pathlib import Path

import chaos_mutants
import numpy as np
import pandas as pd
import pytest

from feature_repo.settings import PROJECT_ROOT
from streaming.chaos.definition import Entities, Feature, agree, result
from streaming.chaos.truth import fates
from streaming.event_topics import LABELS, TRANSACTIONS

HOUR = 3_600_000_000


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_whatever_dies(tmp_path: Path):
    options = ["--events", "5000", "--seconds", "8", "--folds", "2", "--seed", "3"]
    environment = {**os.environ, "DATA_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "streaming.chaos", *options], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "reports" / "chaos.json").read_text())
    for counts in report["counts"].values():
        assert counts.pop("produced") == sum(counts.values())
    assert report["values compared"] > 10_000
    assert report["answers of the run compared"] > 0
    history = "\n".join(report["history"])
    for scene in ("then materialize moved the positions", "as soon as it had moved", "the store has forgotten its last"):
        assert scene in history


@pytest.mark.parametrize("mutant", chaos_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_finds_what_it_takes_away(mutant: chaos_mutants.Mutant):
    for file, before, _ in mutant.edits:
        assert (PROJECT_ROOT / file).read_text().count(before) == 1, file


def test_the_chaos_has_its_own_opinion_of_a_window():
    events = pd.DataFrame(
        {
            "event_timestamp": [0, 5 * HOUR, 5 * HOUR, 6 * HOUR],
            "created_timestamp": [1, 2, 3, 4],
            "event_id": ["a", "b", "c", "d"],
            "source_partition": [0, 0, 1, 0],
            "source_offset": [0, 1, 0, 2],
            "user_id": ["ada"] * 4,
            "cents": pd.array([10, None, 7, 5], dtype="Int64"),
        }
    )
    features = [Feature("n", "event_id", "count", 6 * HOUR, HOUR), Feature("s", "cents", "sum", 6 * HOUR, HOUR)]
    entities = Entities(features, ["user_id"], events)

    assert entities.values({"user_id": "ada"}, 6 * HOUR) == {"n": 3, "s": 17}
    assert entities.values({"user_id": "ada"}, 6 * HOUR + 1) == {"n": 4, "s": 22}
    assert entities.values({"user_id": "ada"}, 8 * HOUR) == {"n": 3, "s": 12}
    assert entities.values({"user_id": "ada"}, 6 * HOUR, {0: 1}) == {"n": 2, "s": 10}
    assert entities.values({"user_id": "bob"}, 6 * HOUR) == {"n": 0, "s": 0}


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("count", [], 0), ("sum", [], 0), ("count_distinct", [], 0), ("mean", [], None), ("max", [], None), ("std", [4], None),
        ("mean", [1, 2], 1.5), ("min", [3, 1, 2], 1), ("max", [3, 1, 2], 3), ("first", [3, 1], 3), ("last", [3, 1], 1),
        ("count_distinct", [1, 1, 2], 2), ("sum", [2**62, 2**62], 2**63), ("std", [1, 3], 2**0.5),
    ],
)  # fmt: skip
def test_the_chaos_has_its_own_opinion_of_a_function(function: str, values: list[int], expected: float | None):
    assert agree(function, result(function, np.array(values, dtype=np.int64)), expected, 0)


def test_a_redelivery_is_a_duplicate_of_an_accepted_one_and_of_nothing_else():
    day = 24 * HOUR
    table = pd.DataFrame(
        [
            (0, "a", 10 * day, 11 * day + 1, False),  # too late: claims nothing
            (0, "a", 11 * day, 11 * day + 2, False),
            (0, "a", 11 * day, 11 * day + 3, False),
            (1, "a", 11 * day, 11 * day + 4, False),  # another slot
            (0, "a", 12 * day, 12 * day + 3, False),  # the claim has ended
            (0, None, None, 12 * day + 4, True),
            (0, "b", 13 * day, 12 * day, False),
        ],
        columns=["source_partition", "event_id", "event_timestamp", "created_timestamp", "poison"],
    )
    table["event_timestamp"] = pd.array(table["event_timestamp"], dtype="Int64")

    said = ["too late", "accepted", "duplicate", "accepted", "accepted", "refused", "refused"]
    assert fates(table, TRANSACTIONS) == said
    assert fates(table, LABELS)[0] == "accepted"
