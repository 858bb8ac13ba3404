"""What the last demo showed, kept in reports/demo.json and told again by `make status`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo.settings import Settings
from stack import served, ui


def write(settings: Settings, report: dict[str, Any]) -> None:
    settings.reports_path.mkdir(parents=True, exist_ok=True)
    written = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **report}
    _path(settings).write_text(json.dumps(written, indent=2) + "\n")


def story(report: dict[str, Any]) -> list[str]:
    """The proof on screen: before and after, the score with its reasons, online and offline side by side."""
    answer, event = report["answer"], report["event"]
    return [
        f"user {report['user_id']}: one payment of {event['amount_cents']} cents sent through Kafka, counted "
        f"{report['counted_after_ms']:.0f} ms later",
        f"  {'feature':<44}{'before':>12}{'after':>12}",
        *(f"  {name:<44}{_text(report['before'][name]):>12}{_text(report['after'][name]):>12}" for name in report["before"]),
        "",
        f"the same payment again: {answer['decision']}, score {answer['score']:.4f}, "
        f"{answer['model']['name']} version {answer['model']['version']}",
        *(f"  {reason['contribution']:+8.3f}  {reason['feature']} = {_text(reason['value'])}" for reason in answer["reasons"]),
        "",
        f"recomputed offline, as of {answer['as_of']} and at the positions of the answer",
        f"  {'feature':<44}{'online':>12}{'offline':>12}",
        *(_side_by_side(report, name) for name in dict.fromkeys([*report["before"], *report["differing"]])),
        verdict(report),
    ]


def verdict(report: dict[str, Any]) -> str:
    return f"{len(report['differing'])} of {report['compared']} values differ"


def lines(settings: Settings) -> list[str]:
    """The last demo in two lines; nothing when there was none."""
    if not _path(settings).exists():
        return []
    report = json.loads(_path(settings).read_text())
    answer = report["answer"]
    return [
        f"last demo       {report['at']}: user {report['user_id']}, {answer['decision']}, score {answer['score']:.4f}",
        f"{'':<16}online against offline: {verdict(report)}",
    ]


def addresses(settings: Settings) -> list[str]:
    """What to open, and where the logs are."""
    docs = settings.data_dir / "data_docs" / "index.html"
    return [
        f"API        {served.address(settings)}/docs",
        f"console    {served.address(settings)}/",
        f"data docs  {docs if docs.exists() else 'none'}",
        f"MLflow     {settings.mlflow_tracking_uri}",
        f"Feast      {ui.address(settings) or 'not running (`make ui`)'}",
        f"logs       {settings.logs_dir}",
    ]


def _side_by_side(report: dict[str, Any], name: str) -> str:
    online, offline = report["answer"]["features"].get(name), report["offline"].get(name)
    return f"  {name:<44}{_text(online):>12}{_text(offline):>12}"


def _text(value: object) -> str:
    return "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _path(settings: Settings) -> Path:
    return settings.reports_path / "demo.json"
