"""A model as files without pickle: the contract that serving reads, and the booster's text or the logistic formula."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.training import boosting, logistic
from pipelines.training.calibration import probability
from pipelines.training.encoding import Encoding

CONTRACT = "contract.json"
KINDS = {"lightgbm": boosting, "logistic": logistic}
"""Each has fit, save, load, margin and FILE."""


@dataclass(frozen=True)
class SavedModel:
    """A model read back from its folder; it scores feature tables exactly as serving does."""

    contract: dict[str, Any]
    model: Any

    @property
    def encoding(self) -> Encoding:
        return Encoding(tuple(self.contract["features"]), self.contract["categories"])

    def score(self, features: pa.Table) -> np.ndarray:
        """(n,) calibrated probabilities of rows that have every feature of the contract (KeyError otherwise)."""
        margin = KINDS[self.contract["kind"]].margin(self.model, self.encoding.matrix(features))
        return probability(margin, self.contract["calibration"])


def write_model(folder: Path, model: Any, contract: dict[str, Any]) -> None:
    """Write contract.json and the model's own file into an existing folder."""
    KINDS[contract["kind"]].save(model, folder)
    (folder / CONTRACT).write_text(json.dumps(contract, indent=1), encoding="utf-8")


def read_model(folder: Path) -> SavedModel:
    """Read a folder that write_model wrote; FileNotFoundError where a file is missing."""
    contract = json.loads((folder / CONTRACT).read_text(encoding="utf-8"))
    return SavedModel(contract, KINDS[contract["kind"]].load(folder))


def model_bytes(folder: Path) -> int:
    """The size of all files below a folder that write_model wrote into."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
