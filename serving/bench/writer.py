"""The stream beside the load: folds events into the store at a rate until its standard input closes, then tells them all.

python -m serving.bench.writer FOLDER STORE USERS SEED BEGAN RATE > events.jsonl
"""

import json
import select
import sys
import time
from datetime import datetime
from itertools import islice
from pathlib import Path

from feature_repo import open_store
from serving.bench.running import NOWHERE
from serving.bench.servers import settings_of
from serving.bench.world import World, push

EVERY_S = 0.1


def main() -> None:
    folder, store_address, users, seed, began, rate = sys.argv[1:]
    store = open_store(settings_of(Path(folder), store_address, NOWHERE))
    live = World(int(users), int(seed), datetime.fromisoformat(began)).live()
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        due += EVERY_S
        events = list(islice(live, max(1, round(float(rate) * EVERY_S))))
        push(store, events)
        for event in events:
            sys.stdout.write(json.dumps(event, default=datetime.isoformat) + "\n")


if __name__ == "__main__":
    main()
