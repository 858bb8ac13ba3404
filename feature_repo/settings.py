"""Where the parts of the platform are, read once from the environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo import kafka_address

PROJECT_ROOT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"
STORE_OPTIONS = {"hash-max-listpack-value": "4096"}
"""Options of Redis or Valkey under which an entity's key takes 180 bytes less (2026-11-21): its states lie in one piece."""


@dataclass(frozen=True)
class Settings:
    """Every setting of every process; built by `from_env()` in a `main()` only, then passed down.

    A part is embedded (started by `make up`, on loopback) exactly when its address was not named by the user. The
    addresses of broker and store may hold a password and are never printed, nor are `api_keys` (entries as written in
    API_KEYS) and `champion_webhook` (empty for none). `data_dir` is absolute; ports are TCP ports, `feast_ui_port` None
    for whichever is free; `rate_limit_per_s` is None for no limit, `shadow_alias` empty for no challengers; `store_away`
    says whether a score is refused or given without history; `otlp_endpoint` is empty for no traces;
    `simulate_users` and `simulate_days` size the world that `make data` makes up.
    """

    kafka_bootstrap_servers: str = field(repr=False)
    kafka_port: int
    redis_connection_string: str = field(repr=False)
    redis_port: int
    redis_type: str
    mlflow_tracking_uri: str
    mlflow_port: int
    data_dir: Path
    api_host: str
    api_port: int
    api_keys: tuple[str, ...] = field(repr=False)
    api_keys_file: Path | None
    rate_limit_per_s: int | None
    shadow_alias: str
    store_away: str
    otlp_endpoint: str
    spark_master: str
    metrics_host: str
    fold_metrics_port: int
    fold_group: str
    alerts_metrics_port: int
    parity_metrics_port: int
    feast_ui_port: int | None
    simulate_users: int
    simulate_days: int
    champion_webhook: str = field(repr=False)
    embedded_kafka: bool
    embedded_redis: bool
    embedded_mlflow: bool

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `environ` (default: `.env` of the project, overridden by the process environment).

        Raises ValueError naming the variable when a port is not a number between 1 and 65535, a size not one above 0, a kind
        none of those there are, or the broker's address one that no client could use.
        """
        env = {**read_dotenv(PROJECT_ROOT / ".env"), **os.environ} if environ is None else dict(environ)
        env = {name: value for name, value in env.items() if value != ""}
        kafka_port, redis_port, mlflow_port = (
            _port(env, "KAFKA_PORT", 9092),
            _port(env, "REDIS_PORT", 6379),
            _port(env, "MLFLOW_PORT", 5000),
        )
        if "KAFKA_BOOTSTRAP_SERVERS" in env:
            kafka_address.check(env["KAFKA_BOOTSTRAP_SERVERS"])
        data_dir = Path(env.get("DATA_DIR", "data"))
        return cls(
            kafka_bootstrap_servers=env.get("KAFKA_BOOTSTRAP_SERVERS", f"{LOOPBACK}:{kafka_port}"),
            kafka_port=kafka_port,
            redis_connection_string=env.get("REDIS_CONNECTION_STRING", f"{LOOPBACK}:{redis_port}"),
            redis_port=redis_port,
            redis_type=_one_of(env, "REDIS_TYPE", ("redis", "redis_cluster")),
            mlflow_tracking_uri=env.get("MLFLOW_TRACKING_URI", f"http://{LOOPBACK}:{mlflow_port}"),
            mlflow_port=mlflow_port,
            data_dir=data_dir if data_dir.is_absolute() else (PROJECT_ROOT / data_dir).resolve(),
            api_host=env.get("API_HOST", LOOPBACK),
            api_port=_port(env, "API_PORT", 8000),
            api_keys=tuple(key.strip() for key in env.get("API_KEYS", "").split(",") if key.strip()),
            api_keys_file=_path(env, "API_KEYS_FILE"),
            rate_limit_per_s=_size(env, "RATE_LIMIT_PER_S", 1) if "RATE_LIMIT_PER_S" in env else None,
            shadow_alias=env.get("SHADOW_ALIAS", ""),
            otlp_endpoint=_web_address(env, "OTEL_EXPORTER_OTLP_ENDPOINT"),
            store_away=_one_of(env, "STORE_AWAY", ("refuse", "degrade")),
            spark_master=env.get("SPARK_MASTER", "local[2]"),
            metrics_host=env.get("METRICS_HOST", LOOPBACK),
            fold_metrics_port=_port(env, "FOLD_METRICS_PORT", 9108),
            fold_group=env.get("FOLD_GROUP", "plumbline-fold"),
            alerts_metrics_port=_port(env, "ALERTS_METRICS_PORT", 9106),
            parity_metrics_port=_port(env, "PARITY_METRICS_PORT", 9107),
            feast_ui_port=_port(env, "FEAST_UI_PORT", 0) if "FEAST_UI_PORT" in env else None,
            simulate_users=_size(env, "SIMULATE_USERS", 2_000),
            simulate_days=_size(env, "SIMULATE_DAYS", 60),
            champion_webhook=_web_address(env, "CHAMPION_WEBHOOK"),
            embedded_kafka="KAFKA_BOOTSTRAP_SERVERS" not in env,
            embedded_redis="REDIS_CONNECTION_STRING" not in env,
            embedded_mlflow="MLFLOW_TRACKING_URI" not in env,
        )

    @property
    def api_reached_at(self) -> str:
        """The host by which this machine reaches the API: an API_HOST of "every address" is asked on loopback."""
        return LOOPBACK if self.api_host in ("0.0.0.0", "::", "") else self.api_host

    @property
    def key_header(self) -> dict[str, str]:
        """What asks the API with the first plain key of API_KEYS, as a header; a hashed entry cannot be used to ask."""
        plain = [entry for entry in self.api_keys if "sha256=" not in entry]
        return {"X-API-Key": plain[0]} if plain else {}

    @property
    def events_dir(self) -> Path:
        return self.data_dir / "events"

    @property
    def transactions_path(self) -> Path:
        return self.events_dir / "transactions"

    @property
    def labels_path(self) -> Path:
        return self.events_dir / "labels"

    @property
    def profiles_path(self) -> Path:
        return self.events_dir / "user_profile"

    @property
    def quarantine_path(self) -> Path:
        return self.data_dir / "quarantine"

    @property
    def reports_path(self) -> Path:
        return self.data_dir / "reports"

    @property
    def run_dir(self) -> Path:
        return self.data_dir / "run"

    @property
    def logs_dir(self) -> Path:
        return self.data_dir / "logs"


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{name}={text!r} is not a TCP port; give a number between 1 and 65535.")
    return int(text)


def _path(env: Mapping[str, str], name: str) -> Path | None:
    """The variable's path, relative to the project; None when it is not set."""
    return (PROJECT_ROOT / env[name]).resolve() if name in env else None


def _one_of(env: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """The variable's value, by default the first choice."""
    text = env.get(name, choices[0])
    if text not in choices:
        raise ValueError(f"{name}={text!r} is not one of {', '.join(choices)}.")
    return text


def _size(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name}={text!r} is not a whole number above 0.")
    return int(text)


def _web_address(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if text and not text.startswith(("http://", "https://")):
        raise ValueError(f"{name} must begin with http:// or https://.")
    return text


def read_dotenv(path: Path) -> dict[str, str]:
    """The NAME=value lines of a .env file; comments and blank lines are skipped, quotes around a value removed."""
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, value in pairs}
