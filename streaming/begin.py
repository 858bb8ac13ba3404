"""How a process of the stream begins: lines of log on standard output, and a polite request to stop that it looks at."""

import logging
import signal
import sys
import threading


def begin() -> threading.Event:
    """Set up the log, with the libraries' chatter left out; the event that SIGTERM and SIGINT set."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    for noisy, level in (("kafka", logging.ERROR), ("py4j", logging.ERROR), ("feast", logging.WARNING)):
        logging.getLogger(noisy).setLevel(level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
