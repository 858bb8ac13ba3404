"""What an aggregate file declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

NULL, VALUE, OVERFLOW = 0, 1, 2
"""What finalize says of its result: there is none, it is there, or an integer left int64."""

INTEGER, FLOAT = "integer", "float"


@dataclass(frozen=True)
class Entry:
    """One aggregate over one kind of column.

    function    its name in a declaration
    kind        'integer' or 'float', the column's kind
    result      'integer', 'float', or 'column' for the column's own type
    width       64-bit words of an intermediate
    any_type    whether columns that are no numbers have it too, because it never looks at the value
    """

    function: str
    kind: str
    result: str
    width: int
    update: Callable[..., Any]
    merge: Callable[..., Any]
    finalize: Callable[..., Any]
    any_type: bool = False

    @property
    def is_float(self) -> bool:
        """Whether finalize writes its result to the floats."""
        return self.result == FLOAT or (self.result == "column" and self.kind == FLOAT)
