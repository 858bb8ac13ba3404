"""A program that asks an engine for the function `range`, which it must have, in every way that there is.

    python tests/tenth_aggregate_lab.py FOLDER HOST:PORT        a folder for the repo, a store for the states

Prints each answer that is not what the definition says, and how many were compared.
"""

import random
import sys
from pathlib import Path

import naive
from engine_lab import NOON, Declared, Lab, View, event, frame, history, materialize, online, row, streamed
from naive import DAY, HOUR, MINUTE

WINDOWS = tuple(
    Declared(column, ("range", "sum"), over, every)
    for column in ("amount_cents", "price")
    for over, every in (("1h", None), ("1d", None), ("7d", "1d"))
)
VIEW = View("ranges", ("user_id",), WINDOWS)


def main(folder: Path, redis: str) -> None:
    drawn = random.Random(10)
    loaded = [event(NOON - drawn.randrange(8 * DAY), number, **payload(drawn)) for number in range(150)]
    arriving = [streamed(NOON + number * MINUTE, number, 1000 + number, **payload(drawn)) for number in range(30)]
    lab = Lab(folder, redis)
    lab.write(loaded)
    store = lab.applied([VIEW])
    rows = [row(NOON - drawn.randrange(8 * DAY), user_id=drawn.choice(("ann", "bob", "eve"))) for _ in range(60)]
    users = [row(NOON + DAY, user_id=user) for user in ("ann", "bob", "eve")]

    for as_known in (False, True):
        answers = history(store, rows, [VIEW], as_known).to_arrow().to_pylist()
        compare("history" + " as known" * as_known, answers, rows, loaded, as_known)
    materialize(store)
    compare("materialized", online(store, users, NOON + DAY, [VIEW]), users, loaded)
    store.push("events", frame(arriving))
    for at in (NOON + 29 * MINUTE, NOON + HOUR, NOON + 3 * DAY):
        asked = [{**user, "at": at} for user in users]
        compare("folded", online(store, asked, at, [VIEW]), asked, [*loaded, *arriving])


def payload(drawn: random.Random) -> dict:
    return {
        "user_id": drawn.choice(("ann", "bob")),
        "amount_cents": drawn.choice((None, drawn.randrange(-500, 500), 10**15)),
        "price": drawn.choice((None, float("nan"), drawn.uniform(-5, 5))),
    }


def compare(what: str, answers: list[dict], rows: list[dict], events: list[dict], as_known: bool = False) -> None:
    different = 0
    for answer, asked in zip(answers, rows, strict=True):
        for window in WINDOWS:
            values = naive.inputs(
                window.column, window.window, window.slide, events, {"user_id": asked["user_id"]}, asked["at"], as_known
            )
            got = answer[f"ranges__{window.column}_range_{window.over}"]
            if got != (max(values) - min(values) if values else None):
                different += 1
                print(f"{what}: {window} of {asked} is {got} of {values}")
            different += not naive.equal(answer[f"ranges__{window.column}_sum_{window.over}"], "sum", values)
    print(f"{what}: {len(rows) * len(WINDOWS)} compared, {different} different")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
