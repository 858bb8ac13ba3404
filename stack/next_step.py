"""What to run next, from what is there and what is not."""

from collections.abc import Mapping

from feature_repo.settings import LOOPBACK, Settings
from stack import ports, processes, served


def of(settings: Settings, champions: Mapping[str, str] | None) -> str:
    """The first thing that is missing on the way to a scored user, as a command and its reason."""
    missing = {
        "make up": ("the broker or the store does not answer", not _parts_answer(settings)),
        "make data": ("the event log is empty", not any(settings.transactions_path.rglob("*.parquet"))),
        "make apply": ("no feature is registered", not (settings.data_dir / "registry.db").exists()),
        "make train": ("no model is champion", champions == {}),
        "make materialize": ("the online store is empty", _store_is_empty(settings)),
        "make stream": ("live events are not read", not _all_run(settings, "fold", "archive", "alerts")),
        "make serve": ("nobody answers", not _all_run(settings, "api")),
    }
    for command, (reason, is_missing) in missing.items():
        if is_missing:
            return f"{command}  ({reason})"
    if served.is_outdated(settings):
        return "make serve  (another model is champion than the one that answers)"
    if broken := served.broken_contract(settings):
        return f"make train  ({broken})"
    return f"make produce, and open {served.address(settings)}/  (everything runs)"


def _parts_answer(settings: Settings) -> bool:
    kafka = not settings.embedded_kafka or ports.accepts(settings.kafka_port, LOOPBACK)
    return kafka and (not settings.embedded_redis or ports.accepts(settings.redis_port, LOOPBACK))


def _store_is_empty(settings: Settings) -> bool:
    """Whether the embedded store has no key; a store of the user's own is not asked."""
    return settings.embedded_redis and ports.replies(settings.redis_port, b"DBSIZE\r\n", b":0\r\n")


def _all_run(settings: Settings, *names: str) -> bool:
    return all(processes.running(name, settings.data_dir) for name in names)
