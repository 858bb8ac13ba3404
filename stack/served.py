"""What the running API serves, asked of itself, and whether that is still what it should serve."""

import json

from prometheus_client.parser import text_string_to_metric_families

from feature_repo.settings import Settings
from stack import champions, ports, processes


class ContractBroken(RuntimeError):
    """The running API's models were trained on other definitions than the applied ones; the message says what to run."""


def address(settings: Settings) -> str:
    """Where this machine reaches the API."""
    host = settings.api_reached_at
    return f"http://[{host}]:{settings.api_port}" if ":" in host else f"http://{host}:{settings.api_port}"


def versions(settings: Settings) -> dict[str, str] | None:
    """Model -> version in the answers of this data directory's API; None when it does not answer."""
    page = ports.http_get(f"{address(settings)}/metrics")[1] if processes.running("api", settings.data_dir) else ""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    infos = (sample.labels for sample in samples if sample.name == "plumbline_model_info")
    return {labels["name"]: labels["version"] for labels in infos} if samples else None


def is_outdated(settings: Settings) -> bool:
    """Whether the running API answers with other models than the champions of now."""
    serving, wanted = versions(settings), champions.known(settings)
    return None not in (serving, wanted) and serving != wanted


def broken_contract(settings: Settings) -> str:
    """What the running API says about a model that does not fit the applied definitions; empty when all fit."""
    status, body = ports.http_get(f"{address(settings)}/readyz") if processes.running("api", settings.data_dir) else (0, "")
    problem = json.loads(body) if status == 503 else {}
    return str(problem["what"]) if problem.get("type", "").endswith(":contract") else ""


def make_way(settings: Settings) -> None:
    """Stop an API that serves other models than the champions, so that its next start serves those.

    Raises ContractBroken where a start would be refused: the API that runs still answers with features.
    """
    if is_outdated(settings):
        processes.stop(["api"], settings.data_dir)
        print("api     stopped: another model is champion now", flush=True)
    elif broken := broken_contract(settings):
        raise ContractBroken(broken)
