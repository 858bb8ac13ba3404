"""Make the data, apply, materialize, then read the same features from history and online and print them side by side."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureService

from plumbline import FeatureStore, as_of

REPO = Path(__file__).parent
END = datetime(2025, 6, 1, 12, tzinfo=UTC)
"""When the data ends; a fixed instant, so that every run prints the same."""
INSTANTS = {"12:00": END, "12:30": END + timedelta(minutes=30)}
"""Half an hour later not one event has come, and the windows have moved on."""
DRIVERS = [1001, 1002]


def main() -> int:
    """0 when history and the online store agree on every value."""
    make_data()
    subprocess.run([Path(sys.executable).with_name("feast"), "apply"], cwd=REPO, check=True, stdout=subprocess.DEVNULL)
    store = FeatureStore(repo_path=str(REPO))
    store.materialize(END - timedelta(days=30), END)
    service = store.get_feature_service("driver_activity")
    history, online = read_history(store, service), read_online(store, service)
    both = pd.concat({"history": history, "online": online}, axis="columns").unstack("at").swaplevel(axis="columns")
    print(both.sort_index(axis="columns").to_string(sparsify=False, float_format="{:.10g}".format))
    differences = history.compare(online)
    print(f"{len(history)} values, {len(differences)} differ between history and online")
    return 1 if len(differences) else 0


def make_data() -> None:
    """Hourly statistics and single trips of five drivers, from a fixed seed."""
    random = np.random.default_rng(7)
    (REPO / "data").mkdir(exist_ok=True)
    hours = pd.date_range(END - timedelta(days=7), END, freq="h")
    stats = pd.DataFrame(
        [(driver, hour) for driver in range(1001, 1006) for hour in hours], columns=["driver_id", "event_timestamp"]
    )
    stats = stats.assign(
        created=stats.event_timestamp + timedelta(minutes=5),
        conv_rate=random.random(len(stats)).astype("float32"),
        avg_daily_trips=random.integers(0, 1000, len(stats)),
    )
    stats.to_parquet(REPO / "data" / "driver_stats.parquet", index=False, coerce_timestamps="us")
    minutes_ago = np.sort(random.integers(1, 30 * 24 * 60, 20_000))[::-1]
    trips = pd.DataFrame(
        {
            "driver_id": random.integers(1001, 1006, len(minutes_ago)),
            "event_timestamp": [END - timedelta(minutes=int(minutes)) for minutes in minutes_ago],
            "rider_id": [f"rider-{number}" for number in random.integers(0, 500, len(minutes_ago))],
            "fare_cents": random.integers(300, 9_000, len(minutes_ago)),
        }
    )
    trips["created"] = trips.event_timestamp + timedelta(seconds=2)
    trips.to_parquet(REPO / "data" / "trips.parquet", index=False, coerce_timestamps="us")


def read_history(store: FeatureStore, service: FeatureService) -> pd.Series:
    """What a training set holds, one value for each driver, feature and instant."""
    asked = pd.DataFrame([(d, at) for at in INSTANTS.values() for d in DRIVERS], columns=["driver_id", "event_timestamp"])
    history = store.get_historical_features(entity_df=asked, features=service).to_df()
    names = {at: name for name, at in INSTANTS.items()}
    return by_feature(history.assign(at=history.event_timestamp.map(names)).drop(columns="event_timestamp"))


def read_online(store: FeatureStore, service: FeatureService) -> pd.Series:
    """What a service that asks at each instant is answered, likewise."""
    answers = []
    for name, at in INSTANTS.items():
        with as_of(at):  # without it: now
            answers.append(store.get_online_features(service, [{"driver_id": d} for d in DRIVERS]).to_df().assign(at=name))
    return by_feature(pd.concat(answers))


def by_feature(answers: pd.DataFrame) -> pd.Series:
    """Answers with a column a feature as one column, sorted."""
    return answers.melt(["driver_id", "at"], var_name="feature").set_index(["driver_id", "feature", "at"]).value.sort_index()


if __name__ == "__main__":
    sys.exit(main())
