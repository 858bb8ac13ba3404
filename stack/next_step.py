"""What to run next, from what is there and what is not."""

from collections.abc import Mapping

from feature_repo.settings import LOOPBACK, Settings
from stack import ports, processes, services


def of(settings: Settings, champions: Mapping[str, str]) -> str:
    """The first thing that is missing on the way to a scored user, as a command and its reason."""
    missing = {
        "make up": ("the broker or the store does not answer", not _parts_answer(settings)),
        "make data": ("the event log is empty", not any(settings.transactions_path.rglob("*.parquet"))),
        "make apply": ("no feature is registered", not (settings.data_dir / "registry.db").exists()),
        "make train": ("no model is champion", "none yet" in champions.get("transaction_fraud", "")),
        "make materialize": ("the online store is empty", _store_is_empty(settings)),
        "make stream": ("live events are not read", not _all_run(settings, "fold", "archive")),
        "make serve": ("nobody answers", not _all_run(settings, "api")),
    }
    for command, (reason, is_missing) in missing.items():
        if is_missing:
            return f"{command}  ({reason})"
    return f"make produce, and open {services.api_url(settings)}/  (everything runs)"


def _parts_answer(settings: Settings) -> bool:
    kafka = not settings.embedded_kafka or ports.accepts(settings.kafka_port, LOOPBACK)
    return kafka and (not settings.embedded_redis or ports.accepts(settings.redis_port, LOOPBACK))


def _store_is_empty(settings: Settings) -> bool:
    """Whether the embedded store has no key; a store of the user's own is not asked."""
    return settings.embedded_redis and ports.replies(settings.redis_port, b"DBSIZE\r\n", b":0\r\n")


def _all_run(settings: Settings, *names: str) -> bool:
    return all(processes.running(name, settings.data_dir) for name in names)
