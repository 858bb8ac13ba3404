"""Where a process tells Prometheus its figures: http://METRICS_HOST:port/metrics."""

from prometheus_client import CollectorRegistry, start_http_server


class PortTaken(RuntimeError):
    """The metrics port is somebody else's; the message names the setting."""


def serve(registry: CollectorRegistry, host: str, port: int, setting: str) -> None:
    """Answer from a thread. Raises PortTaken, naming the setting, when the port is somebody else's."""
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise PortTaken(f"{setting}={port}: {error.strerror}; name a free port.") from error
