"""Somebody else's card data: customers, terminals, amounts, times and a fraud flag, nothing more.

After the published rules of the transaction simulator in the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot and
Bontempi, 2022, chapter 3): customers pay at terminals near them; amounts above 220 are fraud, a terminal is compromised
for 28 days, a customer for 14, whose payments are in one case of three five times as large and fraud.
"""

import numpy as np
import pyarrow as pa
from train_world import labels_of, write_log

from feature_repo.event_schema import LABELS, TIMESTAMP, TRANSACTIONS
from feature_repo.row_level import add_columns, add_label_columns
from feature_repo.settings import Settings

CUSTOMERS, TERMINALS, DAYS, RADIUS = 600, 1_200, 75, 15.0
SINCE_US = 1_522_540_800_000_000  # 2018-04-01T00:00Z
UNTIL_US = SINCE_US + (DAYS + 7) * 86_400_000_000
DAY_S = 86_400


def write_card_world(settings: Settings, label_delay_us: int, seed: int = 2) -> None:
    """Both logs; a label is known label_delay_us after its transaction."""
    user, terminal, second, cents, fraud = _payments(np.random.default_rng(seed))
    times = pa.array(SINCE_US + second * 1_000_000).cast(TIMESTAMP)
    payments = pa.table(
        {
            "event_id": [f"tx-{number}" for number in range(len(user))],
            "event_timestamp": times,
            "created_timestamp": times,
            "user_id": pa.array(user).cast(pa.string()),
            "merchant_id": pa.array(terminal).cast(pa.string()),
            "event_type": ["payment"] * len(user),
            "amount_cents": cents,
            **{name: pa.nulls(len(user), pa.string()) for name in ("device_id", "category", "country", "channel")},
        }
    )
    labels = labels_of(payments, pa.array(fraud))
    known = pa.array(SINCE_US + second * 1_000_000 + label_delay_us).cast(TIMESTAMP)
    labels = labels.set_column(labels.column_names.index("created_timestamp"), "created_timestamp", known)
    write_log(settings.transactions_path, TRANSACTIONS, add_columns(payments))
    write_log(settings.labels_path, LABELS, add_label_columns(labels))


def _payments(random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Customer, terminal, second, cents and fraud (bool) of every payment, in order of time."""
    homes, places = random.uniform(0, 100, (CUSTOMERS, 2)), random.uniform(0, 100, (TERMINALS, 2))
    mean, rate = random.uniform(5, 100, CUSTOMERS), random.uniform(0, 4, CUSTOMERS)
    user = np.repeat(np.arange(CUSTOMERS), random.poisson(rate * DAYS))
    near = [np.flatnonzero(((places - home) ** 2).sum(axis=1) < RADIUS**2) for home in homes]
    terminal = np.array([random.choice(near[customer]) for customer in user])
    amount = np.abs(random.normal(mean[user], mean[user] / 2))
    clock = np.clip(random.normal(DAY_S / 2, 20_000, len(user)), 1, DAY_S - 1).astype(np.int64)
    day = random.integers(0, DAYS, len(user))
    fraud = amount > 220
    for start in range(DAYS):
        hit = (terminal == random.integers(TERMINALS)) & (day >= start) & (day < start + 28)
        stolen = (user == random.integers(CUSTOMERS)) & (day >= start) & (day < start + 14) & (random.random(len(user)) < 1 / 3)
        fraud |= hit | stolen
        amount[stolen] *= 5
    order = np.argsort(day * DAY_S + clock, kind="stable")
    cents = np.maximum(np.round(amount * 100), 1).astype(np.int64)
    return user[order], terminal[order], (day * DAY_S + clock)[order], cents[order], fraud[order]
