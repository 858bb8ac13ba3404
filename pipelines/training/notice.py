"""Everybody is told of a decision about a champion: a line in a log, and a webhook where one is set."""

import json
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo.settings import Settings

WITHIN_S = 5.0


def decisions_log(settings: Settings) -> Path:
    """JSON Lines: one decision a line, the newest last."""
    return settings.logs_dir / "champions.jsonl"


def notify(settings: Settings, decision: dict[str, Any]) -> None:
    """Append `decision` with its time (`at`, RFC 3339) to the log, and POST it as JSON to CHAMPION_WEBHOOK where that is set.

    A webhook that cannot be reached is said on stderr and changes nothing: the decision stands.
    """
    told = {"at": datetime.now(UTC).isoformat(), **decision}
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    with decisions_log(settings).open("a", encoding="utf-8") as log:
        log.write(json.dumps(told) + "\n")
    if settings.champion_webhook:
        _post(settings.champion_webhook, told)


def _post(address: str, told: dict[str, Any]) -> None:
    body = json.dumps(told).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    try:
        urllib.request.urlopen(request, timeout=WITHIN_S).close()
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        print(f"The webhook of CHAMPION_WEBHOOK was not told: {error}", file=sys.stderr)
