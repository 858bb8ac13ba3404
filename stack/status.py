"""`make status`: processes, ports, lag, positions, champions, the last demo's proof, and what to run next."""

from feature_repo.settings import Settings
from stack import champions, demo_report, embedded, lag, next_step, ports, processes, served, services, ui
from stack.environment import settings_for


def main() -> None:
    settings = settings_for("status")
    print(f"data directory  {settings.data_dir}\n")
    for line in process_lines(settings):
        print(line)
    print()
    for line in lag.lines(settings):
        print(line)
    known = champions.known(settings)
    print("champions       " + ", ".join(f"{model}: {said}" for model, said in champions.told(settings, known).items()))
    for line in demo_report.lines(settings):
        print(line)
    print(f"\nrun next        {next_step.of(settings, known)}")


def process_lines(settings: Settings) -> list[str]:
    """One line a process: its name, whether it runs, its address and its log."""
    lines = [f"{'process':<12}{'state':<22}{'address':<34}log"]
    for name, (address, setting) in embedded.addresses(settings).items():
        yours = not getattr(settings, f"embedded_{name}")
        lines.append(_line(name, address, settings, f"yours ({setting})" if yours else None))
    folds = [name for name in processes.names(settings.data_dir) if name.startswith("fold-")]
    metrics = f"http://{ports.LOOPBACK}:{settings.fold_metrics_port}/metrics"
    lines.append(_line("fold", "" if services.SPARK_FOLD in folds else metrics, settings))
    lines += [_line(name, metrics if name == services.SPARK_FOLD else "", settings) for name in folds]
    lines.append(_line("archive", "", settings))
    lines.append(_line("alerts", f"http://{ports.LOOPBACK}:{settings.alerts_metrics_port}/metrics", settings))
    lines.append(_line("api", served.address(settings), settings))
    return [*lines, _line("ui", ui.address(settings) or "", settings)]


def _line(name: str, address: str, settings: Settings, state: str | None = None) -> str:
    process = None if state else processes.running(name, settings.data_dir)
    log = processes.log_path(name, settings.data_dir)
    said = state or (f"runs (pid {process.pid})" if process else "stopped")
    return f"{name:<12}{said:<22}{address:<34}{log if log.exists() else ''}".rstrip()


if __name__ == "__main__":
    main()
