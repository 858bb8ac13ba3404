"""LightGBM through its C library alone: the package around it imports scikit-learn and scipy, 70 MB that answer nothing.

The functions are those of https://lightgbm.readthedocs.io/en/stable/C-API.html; each returns 0, or -1 and an error text.
"""

import ctypes
import importlib.util
import sys
import weakref
from functools import cache
from pathlib import Path

import numpy as np

_FLOAT64, _ROW_MAJOR = 1, 1
_MARGINS, _CONTRIBUTIONS = 1, 3
_ALL_TREES = -1


class TreesError(ValueError):
    """What LightGBM says of a text that is no model, or of rows that do not fit it."""


class BoostedTrees:
    """A model from its text; rows are (n, width) float64, contributions are exact TreeSHAP, without the expected value.

    One thread a call, and calls from several threads are safe: each makes its own predictor.
    """

    def __init__(self, text: str) -> None:
        _require_whole(text)
        self._handle, width, trees = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
        _call(
            "LGBM_BoosterLoadModelFromString", ctypes.c_char_p(text.encode()), ctypes.byref(trees), ctypes.byref(self._handle)
        )
        weakref.finalize(self, _library().LGBM_BoosterFree, self._handle)
        _call("LGBM_BoosterGetNumFeature", self._handle, ctypes.byref(width))
        self.width = width.value

    def margins(self, rows: np.ndarray) -> np.ndarray:
        return self._predict(rows, _MARGINS, 1)[:, 0]

    def contributions(self, rows: np.ndarray) -> np.ndarray:
        return self._predict(rows, _CONTRIBUTIONS, self.width + 1)[:, :-1]

    def _predict(self, rows: np.ndarray, kind: int, columns: int) -> np.ndarray:
        given = np.ascontiguousarray(rows, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != self.width:
            raise TreesError(f"rows are {given.shape}, the model has {self.width} features")
        predicted, count = np.empty((len(given), columns)), ctypes.c_int64()
        _call(
            "LGBM_BoosterPredictForMat", self._handle, ctypes.c_void_p(given.ctypes.data), ctypes.c_int(_FLOAT64),
            ctypes.c_int32(len(given)), ctypes.c_int32(self.width), ctypes.c_int(_ROW_MAJOR), ctypes.c_int(kind),
            ctypes.c_int(0), ctypes.c_int(_ALL_TREES), ctypes.c_char_p(b"num_threads=1"),
            ctypes.byref(count), ctypes.c_void_p(predicted.ctypes.data),
        )  # fmt: skip
        if count.value != predicted.size:
            raise TreesError(f"{count.value} values were computed, {predicted.size} expected; the model has several classes")
        return predicted


def _require_whole(text: str) -> None:
    """LightGBM takes the lengths of its trees from the header and reads that far, past the end of a text that was cut: the
    process would die.
    """
    header, found, trees = text.partition("\n\nTree=")
    sizes = header.rpartition("tree_sizes=")[2].partition("\n")[0].split()
    length = len(found.lstrip("\n")) + trees.find("end of trees")
    if not found or not all(map(str.isdecimal, sizes)) or sum(map(int, sizes)) != length:
        raise TreesError("the text is no model of LightGBM, or was cut or changed: its trees are not as long as it says")


def _call(function: str, *arguments: object) -> None:
    library = _library()
    if getattr(library, function)(*arguments) != 0:
        raise TreesError(library.LGBM_GetLastError().decode(errors="replace"))


@cache
def _library() -> ctypes.CDLL:
    package = importlib.util.find_spec("lightgbm")
    if package is None or package.origin is None:
        raise TreesError("LightGBM is not installed; run `make setup`")
    name = "lib_lightgbm.dylib" if sys.platform == "darwin" else "lib_lightgbm.so"
    library = ctypes.CDLL(str(Path(package.origin).parent / "lib" / name))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library
