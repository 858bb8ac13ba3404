"""The dashboard asks for figures that the processes tell."""

import json
import re

import pytest
import yaml

from feature_repo.settings import PROJECT_ROOT
from serving.metrics import Metrics
from streaming.alert_metrics import AlertMetrics
from streaming.fold_metrics import FoldMetrics
from streaming.parity_figures import ParityFigures

OBSERVE = PROJECT_ROOT / "stack" / "observe"
PANELS = json.loads((OBSERVE / "dashboard.json").read_text())["panels"]
REPORT = {"equal": 1, "different": 0, "pending": 0, "unverifiable": 0, "by_cause": {"decay": 0}}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Name of each sample that a metric of ours can have -> its labels."""
    report = tmp_path_factory.mktemp("parity") / "parity.json"
    report.write_text(json.dumps(REPORT))
    parity = ParityFigures(report).collect()
    names = {sample.name: set(sample.labels) for family in parity for sample in family.samples}
    for registry in (Metrics().registry, FoldMetrics().registry, AlertMetrics().registry):
        for collector in list(registry._collector_to_names):
            for name in registry._collector_to_names[collector]:
                families = collector.describe() if not hasattr(collector, "_labelnames") else [collector]
                names[name] = {label for family in families for label in family._labelnames}
    return names


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_a_process_tells_by_labels_that_it_has(panel: dict, told: dict[str, set[str]]):
    for target in panel["targets"]:
        asked = set(re.findall(r"plumbline_\w+", target["expr"]))
        assert asked
        assert asked <= set(told)
        by = {label for names in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in names.replace(" ", "").split(",")}
        assert by - {"le"} <= set.union(*(told[name] for name in asked))


def test_what_prometheus_asks_are_services_of_compose_at_the_ports_of_their_settings():
    services = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())["services"]
    asked = yaml.safe_load((OBSERVE / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]

    for target in asked:
        name, port = target.split(":")
        assert f"localhost:{port}/" in str(services[name]["healthcheck"]["test"])
    mounted = [volume.split(":")[0] for name in ("prometheus", "grafana") for volume in services[name]["volumes"]]
    assert all((PROJECT_ROOT / path).is_file() for path in mounted)
