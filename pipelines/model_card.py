"""A model's card: what it is, what it was measured on, what it is worth and why it was or was not promoted; with plots."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

PLOT_INCHES = (4.8, 3.4)
CURVE_POINTS = 500
Rows = Sequence[Sequence[str]]


def write_card(folder: Path, name: str, report: dict[str, Any], fraud: np.ndarray, score: np.ndarray) -> list[Path]:
    """Write card.md, card.html (one file, plots inside) and the plots into `folder`, which is made; returns their paths.

    report is the model's part of train.json; fraud and score (n,) are of its test rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots = _plots(folder, report, fraud, score)
    sections = _sections(name, report)
    markdown = folder / "card.md"
    markdown.write_text(_markdown(name, report, sections, plots), encoding="utf-8")
    page = folder / "card.html"
    page.write_text(_html(name, report, sections, plots), encoding="utf-8")
    return [markdown, page, *plots.values()]


def _sections(name: str, report: dict[str, Any]) -> dict[str, Rows]:
    """Heading -> a table whose first row is its head; empty ones are left out."""
    evaluation = report["evaluation"]
    low, high = report["average_precision_ci"]
    figures = [
        ("measure", "value"),
        ("test rows, frauds", f"{report['parts']['test']['rows']:,}, {report['parts']['test']['positives']:,}"),
        ("base rate (what chance reaches)", f"{report['base_rate']:.4f}"),
        ("average precision, 95 % interval", f"{report['average_precision']:.3f} [{low:.3f}, {high:.3f}]"),
        ("recall where 0.1 % of honest rows are flagged", f"{report['recall_at_fpr_0.001']:.3f}"),
        ("recall where 0.5 % of honest rows are flagged", f"{report['recall_at_fpr_0.005']:.3f}"),
        ("Brier score", f"{report['brier']:.5f}"),
    ]
    return {
        "Worth": figures,
        "Money": _money(evaluation["money"]),
        "Cards looked at each day": _cards(evaluation["card_precision"]),
        "Frauds found by scenario (0.5 % of honest rows flagged)": _scenarios(evaluation.get("recall_by_scenario", {})),
        "Calibration": _calibration(evaluation["calibration"]),
        "Models compared on the same rows": _comparison(report["comparison"]),
        "The gate": [("check", "passed", "figures"), *(_gate(check) for check in report["gate"]["checks"])],
        "Where it comes from": [("what", "value"), *((key, str(value)) for key, value in _origin(name, report))],
        "Warnings": [("warning",), *((text,) for text in (*report["warnings"], *report["notes"]))],
        "Features left out": [("feature and reason",), *((text,) for text in report["left_out"])],
    }


def _gate(check: dict[str, Any]) -> tuple[str, str, str]:
    return check["name"], "yes" if check["passed"] else "NO", check["detail"]


def _origin(name: str, report: dict[str, Any]) -> list[tuple[str, Any]]:
    split = report["split"]
    return [
        ("model", f"{name} version {report['model_version']} ({report['chosen']})"),
        ("feature service", f"{report['feature_service']}, definitions {report['definition_hash']}"),
        ("trained on", f"{split['start']} to {split['train_end']}"),
        ("tested on", f"{split['gap_end']} to {split['test_end']}"),
        ("features used", len(report["features"])),
        *report["provenance"].items(),
        ("MLflow run", report["mlflow_run_id"]),
    ]


def _money(money: dict[str, float]) -> Rows:
    return [
        ("alerts", "an alert costs", "saved", "an oracle saves", "share"),
        (
            f"{money['alerts']:,}",
            f"{money['alert_cents'] / 100:,.2f}",
            f"{money['saved_cents'] / 100:,.2f}",
            f"{money['oracle_cents'] / 100:,.2f}",
            f"{money['share_of_oracle']:.1%}",
        ),
    ]


def _cards(cards: list[dict[str, float]]) -> Rows:
    head = ("cards a day", "precision", "a perfect scorer's", "chance", "days")
    rows = [
        (f"{c['cards']}", f"{c['precision']:.3f}", f"{c['perfect']:.3f}", f"{c['random']:.3f}", f"{c['days']}") for c in cards
    ]
    return [head, *rows]


def _scenarios(found: dict[str, dict[str, float]]) -> Rows:
    rows = [(name, f"{scenario['frauds']:,}", f"{scenario['recall']:.3f}") for name, scenario in found.items()]
    return [("scenario", "frauds", "recall"), *rows]


def _calibration(found: dict[str, Any]) -> Rows:
    head = ("the scores add up to", "known frauds", "expected calibration error")
    return [head, (f"{found['expected_frauds']:.1f}", f"{found['known_frauds']:,}", f"{found['expected_error']:.4f}")]


def _comparison(comparison: dict[str, dict[str, Any]]) -> Rows:
    rows = []
    for kind, metrics in comparison.items():
        low, high = metrics.get("average_precision_ci", (metrics["average_precision"],) * 2)
        rows.append((kind, f"{metrics['average_precision']:.3f} [{low:.3f}, {high:.3f}]", f"{metrics['brier']:.5f}"))
    return [("model", "average precision", "Brier"), *rows]


def _markdown(name: str, report: dict[str, Any], sections: dict[str, Rows], plots: dict[str, Path]) -> str:
    lines = [f"# {name} version {report['model_version']}", "", report["gate"]["reason"], ""]
    lines += [f"![{title}]({path.name})" for title, path in plots.items()]
    for heading, (head, *rows) in sections.items():
        if rows:
            lines += ["", f"## {heading}", "", _row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _html(name: str, report: dict[str, Any], sections: dict[str, Rows], plots: dict[str, Path]) -> str:
    title = html.escape(f"{name} version {report['model_version']}")
    images = "".join(
        f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for text, path in plots.items()
    )
    tables = "".join(f"<h2>{html.escape(heading)}</h2>{_table(rows)}" for heading, rows in sections.items() if len(rows) > 1)
    style = (
        "body{font:15px/1.5 system-ui;max-width:72rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
        "td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}img{max-width:100%}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"<h1>{title}</h1><p>{html.escape(report['gate']['reason'])}</p>{images}{tables}</html>\n"
    )


def _table(rows: Rows) -> str:
    head, *body = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{head.replace('td>', 'th>')}</tr>{''.join(f'<tr>{cells}</tr>' for cells in body)}</table>"


def _plots(folder: Path, report: dict[str, Any], fraud: np.ndarray, score: np.ndarray) -> dict[str, Path]:
    """Title -> PNG file: precision by recall beside the base rate, and what probabilities turned out to mean."""
    precision, recall, _ = precision_recall_curve(fraud, score)
    step = max(1, len(recall) // CURVE_POINTS)
    bins = report["evaluation"]["calibration"]["bins"]
    said, known = [b["mean_score"] for b in bins], [b["fraud_share"] for b in bins]
    top = max(*said, *known, 1e-6)
    return {
        "Precision by recall": _plot(
            folder / "precision_recall.png",
            ("recall", "precision"),
            [("model", recall[::step], precision[::step], "-"), ("base rate", [0, 1], [report["base_rate"]] * 2, "--")],
        ),
        "Calibration": _plot(
            folder / "calibration.png",
            ("mean score of a tenth of the rows", "share of frauds"),
            [("model", said, known, "o-"), ("exact", [0, top], [0, top], "--")],
        ),
    }


def _plot(path: Path, axes: tuple[str, str], lines: list[tuple[str, Any, Any, str]]) -> Path:
    figure = Figure(figsize=PLOT_INCHES, layout="constrained")
    plot = figure.subplots()
    for label, x, y, style in lines:
        plot.plot(x, y, style, label=label)
    plot.set(xlabel=axes[0], ylabel=axes[1])
    plot.grid(alpha=0.3)
    plot.legend()
    figure.savefig(path, dpi=110)
    return path
