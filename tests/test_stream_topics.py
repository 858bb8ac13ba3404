"""The topics say of their events what the sources of the views say, without the time that Feast takes to import."""

import re
import subprocess
import sys

import pytest

from feature_repo.event_schema import ALLOWED_LATENESS
from feature_repo.features import logs
from feature_repo.settings import PROJECT_ROOT
from streaming.event_topics import EVENT_TOPICS, allowed_lateness_us

DAY_US = 86_400_000_000
TRANSACTIONS, LABELS = EVENT_TOPICS


def test_a_transaction_may_be_a_day_late_and_a_label_half_a_year():
    assert allowed_lateness_us(TRANSACTIONS) == DAY_US
    assert allowed_lateness_us(LABELS) == 180 * DAY_US


@pytest.mark.parametrize("source", [logs.transactions, logs.labels], ids=lambda source: source.name)
def test_a_views_source_and_its_topic_allow_the_same_lateness(source):
    assert source.tags["allowed_lateness"] == ALLOWED_LATENESS[source.name]


def test_the_lateness_of_a_log_is_written_in_one_place():
    said = re.compile(r"""(allowed_)?lateness["']?\s*[:=]\s*["']\d+(us|ms|s|m|h|d|w)["']""", re.IGNORECASE)
    folders = ("feature_repo", "pipelines", "streaming", "serving", "stack")
    files = [path for folder in folders for path in (PROJECT_ROOT / folder).rglob("*.py")]
    ours = [path for path in files if "bench" not in path.parts]  # a benchmark's log is its own

    assert [path.name for path in ours if said.search(path.read_text())] == []


def test_a_worker_that_asks_for_the_lateness_does_not_wait_for_feast():
    asked = (
        "import sys; from streaming import event_topics as topics; "
        "print(topics.allowed_lateness_us(topics.LABELS), 'feast' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", asked], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == f"{180 * DAY_US} False\n"
