"""The whole product, driven as its user drives it: the README's commands, crashes in the middle of live traffic, the end."""

import json
import re
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import naive
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
import stream_lab
from product_lab import README, Block, Checkout, readme_blocks

from feature_repo import open_store
from pipelines.recompute import Compared, compare_all
from plumbline import FeatureStore
from plumbline.instant import to_microseconds
from plumbline.spec import is_windowed
from stack import lag, processes

NEW_FEATURE = "user_payments__payment_cents_min_7d"
RESTARTS = {"redis": "make up", "fold": "make stream", "api": "make serve", "kafka": "make up", "archive": "make stream"}
"""Each process of the product -> what its user runs when it is gone."""

RATE, SECONDS = 200, 5
NAIVE_SAMPLE = {"user_id": 5, "merchant_id": 2}

pytestmark = pytest.mark.slow


def only(section: str, language: str) -> Block:
    (block,) = (block for block in readme_blocks(section) if block.language == language)
    return block


def commands(block: Block) -> dict[str, str]:
    """The lines of a block without their comments, each by its first two words."""
    lines = [re.sub(r"\s+#.*", "", line) for line in block.text.splitlines()]
    return {" ".join(line.split()[:2]): line for line in lines}


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON objects in what several curls printed."""
    decoder, found = json.JSONDecoder(), []
    while start := text.find("{") + 1:
        document, end = decoder.raw_decode(text[start - 1 :])
        found.append(document)
        text = text[start - 1 + end :]
    return found


def score_of(user_id: str) -> str:
    body = json.dumps({"user_id": user_id, "transaction": {"amount_cents": 100}})
    return f"curl -s localhost:8000/v1/score -H 'content-type: application/json' -d '{body}'"


def ends_of(product: Checkout) -> dict[str, dict[int, int]]:
    """Topic -> partition -> last offset, of partitions that have one."""
    servers = product.settings.kafka_bootstrap_servers
    return {topic: stream_lab.last_offsets(servers, topic) for topic in lag.TOPICS}


def records(product: Checkout, topic: str) -> list[Any]:
    return stream_lab.records_of(product.settings.kafka_bootstrap_servers, topic)


def log_of(product: Checkout, topic: str) -> pa.Table:
    """The log as a reader sees it that knows nothing but Parquet."""
    return pads.dataset(product.settings.events_dir / topic, partitioning="hive").to_table()


def streamed(log: pa.Table) -> list[tuple[int, int]]:
    """(partition, offset) of every row that came through Kafka, sorted."""
    pairs = zip(log["source_partition"].to_pylist(), log["source_offset"].to_pylist(), strict=True)
    return sorted(pair for pair in pairs if pair[0] is not None)


def caught_up(product: Checkout) -> bool:
    """Whether fold and archive have passed every record of the topics."""
    ends = ends_of(product)
    fold = {topic: lag.fold_positions(product.settings, topic) for topic in ends}
    archive = {topic: lag.archive_positions(product.settings, topic) for topic in ends}
    return all(_reaches(done[topic], ends[topic]) for topic in ends for done in (fold, archive))


def _reaches(positions: dict[int, int] | None, ends: dict[int, int]) -> bool:
    return all((positions or {}).get(partition, -1) >= end for partition, end in ends.items())


def windowed_features(store: FeatureStore, key: str) -> list[str]:
    """`view:feature` of every windowed feature of the entities with this one join key."""
    views = [view for view in store.list_stream_feature_views() if is_windowed(view) and view.join_keys == [key]]
    return [f"{view.name}:{feature.name}" for view in views for feature in view.features]


def parity(store: FeatureStore, key: str, entities: list[str]) -> list[Compared]:
    """Every windowed feature of every entity as read online now, against its recomputation from the log."""
    answers = store.read_online(windowed_features(store, key), [{key: entity} for entity in entities])
    logged = [
        {
            "entity_row": {key: entity},
            "as_of": answer.as_of.isoformat(),
            "positions": answer.positions,
            "features": answer.features,
        }
        for entity, answer in zip(entities, answers, strict=True)
    ]
    checked = compare_all(store, logged)
    assert [each.problem for each in checked if each.problem] == []
    return [compared for each in checked for compared in each.compared]


def naive_misses(store: FeatureStore, log: pa.Table, key: str, entity: str) -> list[str]:
    """Windowed features over transactions whose online value is not what plain loops over the log's rows count."""
    rows = [row for row in log.to_pylist() if row[key] == entity]
    events = [row | {name: to_microseconds(row[name]) for name in ("event_timestamp", "created_timestamp")} for row in rows]
    (answer,) = store.read_online(windowed_features(store, key), [{key: entity}])
    missed = []
    for view in {name.partition("__")[0] for name in answer.features}:
        spec = store.layout(view).spec
        counted = naive.accepted(events, spec.source.allowed_lateness_us) if spec.source.name == "transactions" else None
        for window in spec.windows if counted is not None else ():
            values = naive.inputs(
                window.column, window.window_us, window.slide_us, counted, {key: entity}, to_microseconds(answer.as_of)
            )
            if not naive.equal(answer.features[f"{view}__{window.name}"], window.function, values):
                missed.append(f"{entity} {view}__{window.name}")
    return missed


def common(log: pa.Table, key: str) -> list[str]:
    """Everybody in a column of the log, the busiest first."""
    return [name for name, _ in Counter(log[key].drop_null().to_pylist()).most_common()]


def test_the_questions_of_the_readme_are_answered(product: Checkout):
    account, payment = documents(product.sh(only("Ask it", "sh").text))
    printed = product.run(f".venv/bin/python - <<'END'\n{only('Ask it', 'python').text}END")

    assert account["known"]
    assert account["model"]["name"] == "account_risk"
    assert payment["model"]["name"] == "transaction_fraud"
    assert payment["features"]["transaction_context__amount_cents"] == 129_900
    assert "user_payments__payment_id_count_30d" in printed
    assert "'history': 1" in printed


@pytest.mark.long
def test_a_feature_is_declared_in_one_file_and_then_known_everywhere(product: Checkout):
    snippet, lines = only("Declare a feature", "python").text, commands(only("Declare a feature", "sh"))
    edited = product.root / re.search(r"In `(feature_repo/\S+)`, add a line to `aggregations`", README.read_text())[1]
    edited.write_text(edited.read_text().replace("    aggregations=[\n", f"    aggregations=[\n        {snippet}", 1))

    assert list(lines) == ["make apply", "make materialize", "curl -s", "make train", "make serve"]
    product.sh(lines["make apply"])
    refused_score, probe = documents(product.sh(f"{score_of('u-85')}; curl -s localhost:8000/readyz"))
    refused_start = product.tell("make serve")
    product.sh(lines["make materialize"])
    answer = json.loads(product.sh(lines["curl -s"]))
    product.sh(lines["make train"])
    product.sh(lines["make serve"])
    ready, scored = documents(product.sh(f"curl -s localhost:8000/readyz; {score_of('u-85')}"))

    assert (refused_score["status"], probe["status"]) == (503, 503)
    assert refused_score["type"] == probe["type"] == "urn:plumbline:problem:contract"
    assert refused_start.code != 0
    assert "make train" in refused_start.text
    assert isinstance(answer["features"][NEW_FEATURE], int)
    assert ready["status"] == "ready"
    assert NEW_FEATURE in scored["features"]
    contract = product.settings.data_dir / "models" / "transaction_fraud" / scored["model"]["version"]
    assert NEW_FEATURE in json.loads(next(contract.rglob("contract.json")).read_text())["features"]


@pytest.mark.long
def test_a_crash_of_any_process_in_the_middle_of_produce_loses_and_doubles_nothing(product: Checkout):
    before = ends_of(product)
    said = [produce_and_crash(product, name, remedy) for name, remedy in RESTARTS.items()]
    stream_lab.until(lambda: caught_up(product), within_s=180)

    sent = [int(number) for text in said for number in re.findall(r"^Sent (\d+) transactions", text.replace(",", ""), re.M)]
    transactions, log = records(product, "transactions"), log_of(product, "transactions")
    assert sent == [RATE * SECONDS] * len(RESTARTS)
    assert len(transactions) == sum(sent) + sum(end + 1 for end in before["transactions"].values())
    assert len({json.loads(record.value)["event_id"] for record in transactions}) == len(transactions)
    assert records(product, "transactions.dead-letter") == []
    for topic in lag.TOPICS:
        assert streamed(log_of(product, topic)) == sorted(
            (record.partition, record.offset) for record in records(product, topic)
        )

    store = open_store(product.settings)
    for key, sample in NAIVE_SAMPLE.items():
        everybody = common(log, key)
        compared = parity(store, key, everybody)
        assert len(compared) >= 10 * len(everybody)
        assert [each for each in compared if not each.equal] == []
        assert [miss for name in everybody[:sample] for miss in naive_misses(store, log, key, name)] == []

    status = product.run("make status")
    for name in [*RESTARTS, "mlflow"]:
        assert re.search(rf"^{name}\s+runs \(pid \d+\)", status, re.M), status
    assert "everything runs" in status


def produce_and_crash(product: Checkout, name: str, remedy: str) -> str:
    """What `make produce` says that had a process of the product killed under it, and brought back as its user would."""
    begun = ends_of(product)
    with product.begin(f"make produce RATE={RATE} SECONDS={SECONDS}") as producing:
        stream_lab.until(lambda: producing.poll() is not None or ends_of(product) != begun)
        product.kill(name)
        assert producing.poll() is None, producing.communicate()
        product.run(remedy)
        text, _ = producing.communicate(timeout=120)
    assert producing.returncode == 0, text
    return text


def test_feasts_own_commands_and_pages_know_the_repo(product: Checkout):
    windowed = product.run(".venv/bin/feast -c feature_repo stream-feature-views list")
    others = product.run(".venv/bin/feast -c feature_repo feature-views list")
    product.run(f".venv/bin/feast -c feature_repo materialize-incremental {datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
    address = re.search(r"^Feast\s+(http\S+)", product.run("make ui"), re.M)[1]

    assert "user_payments" in windowed.split()
    assert re.search(r"^transaction_context .*OnDemandFeatureView", others, re.M), others
    assert address.endswith(f":{product.settings.feast_ui_port}")
    with urllib.request.urlopen(address, timeout=10) as page:
        assert b"<html" in page.read()


def test_the_commands_that_only_tell_say_where_things_are(product: Checkout):
    docs, logs = product.run("make docs"), product.run("make logs")

    assert Path(re.search(r"/\S+index\.html", docs)[0]).exists()
    assert str(processes.log_path("fold", product.settings.data_dir)) in logs


def test_the_history_is_not_replaced_under_a_running_archive(product: Checkout):
    before = log_of(product, "transactions").num_rows

    refused = product.tell("make data")

    assert refused.code != 0
    assert "make stop" in refused.text
    assert log_of(product, "transactions").num_rows >= before


def test_stop_leaves_no_process_and_clean_no_file(product: Checkout):
    data_dir = product.settings.data_dir
    assert product.processes()

    product.run("make stop")

    assert product.processes() == {}
    status = product.run("make status")
    assert " runs (pid" not in status
    assert re.search(r"^run next\s+make up ", status, re.M)
    product.run("make clean")
    assert list(data_dir.iterdir()) == []
