"""Whether a classifier can tell the shop's events from the real sample's by price, category, hour and time since the last."""

import lightgbm
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from pipelines.simulate.shop.catalog import Catalog
from pipelines.simulate.shop.events import Events
from pipelines.simulate.shop.visits import DAY_S, HOUR_S

FOLDS = 3
TREES = 100
LOOKED_AT = ["log_price", "category", "hour", "gap_s"]


def same_hours(catalog: Catalog, made: Events, sample: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events of the shop and of the sample in the sample's hours, as many of each hour and of each side.

    Columns: product, log_price, category, hour and gap_s, the seconds since the user's last event among these of the day.
    """
    seconds = sample["at"].dt.hour * 3600 + sample["at"].dt.minute * 60 + sample["at"].dt.second
    theirs = _described(
        sample["user_id"].to_numpy(), seconds.to_numpy(), np.zeros(len(sample)), sample["price"], sample["category_code"]
    ).assign(product=sample["product_id"].to_numpy())
    inside = np.flatnonzero(made.at_s % DAY_S <= seconds.max())
    goods = catalog.rows.select(["price", "category_code"]).take(made.product[inside]).to_pandas()
    at_s = made.at_s[inside]
    code = goods["category_code"].astype(object).fillna("")
    ours = _described(made.user[inside], at_s % DAY_S, at_s // DAY_S, goods["price"], code)
    ours = ours.assign(product=made.product[inside])
    return _as_many(ours, theirs)


def auc_of_telling_apart(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Area under the ROC curve of boosted trees on rows they did not see: 0.5 where nothing tells them apart."""
    rows = pd.concat([ours, theirs], ignore_index=True)[LOOKED_AT]
    rows["category"] = rows["category"].astype("category").cat.codes
    real = np.repeat([0, 1], [len(ours), len(theirs)])
    fold = np.random.default_rng(0).integers(0, FOLDS, len(rows))
    score = np.zeros(len(rows))
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 0, "deterministic": True}
    for left_out in range(FOLDS):
        seen = fold != left_out
        data = lightgbm.Dataset(rows[seen].to_numpy(), real[seen], categorical_feature=[1])
        score[~seen] = np.asarray(lightgbm.train(parameters, data, TREES).predict(rows[~seen].to_numpy(), num_threads=1))
    return float(roc_auc_score(real, score))


def _described(user: np.ndarray, second: np.ndarray, day: np.ndarray, price: pd.Series, category: pd.Series) -> pd.DataFrame:
    rows = pd.DataFrame({"user": user, "day": day, "second": np.round(second)})
    rows["log_price"] = np.log(np.maximum(price.to_numpy(), 0.01))
    rows["category"], rows["hour"] = category.to_numpy(), (rows["second"] // HOUR_S).astype(int)
    rows["gap_s"] = rows.sort_values(["user", "day", "second"]).groupby(["user", "day"])["second"].diff()
    return rows


def _as_many(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of both, at random, so that each hour occurs as often in one as in the other, in the proportions of `theirs`."""
    wanted = theirs["hour"].value_counts()
    share = min(1.0, (ours["hour"].value_counts().reindex(wanted.index).fillna(0) / wanted).min())

    def drawn(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows[rows["hour"] == at].sample(int(count * share), random_state=0) for at, count in wanted.items()])

    return drawn(ours), drawn(theirs)
