"""Import this before Feast where a process should start quickly: two thirds of `import feast` go into checks of types.

Feast decorates its classes with typeguard's `typechecked`, which reads, parses and compiles a module anew for each method of a
class: 3.6 of the 5.1 s of processor time that `import feast` takes (Feast 0.67, typeguard 4.6, measured with
`time python -c "import feast"`). The platform's processes read views that `feast apply` registered, and
Feast's own command line, which does not come by here, checks every declaration as ever.
"""

import contextlib
import os
from typing import Any

AS_SHIPPED = "FEAST_AS_SHIPPED"
"""A variable that, set to anything, leaves the checks in: for a benchmark beside Feast as everybody else has it."""


def _as_written(target: Any = None, **_: Any) -> Any:
    """What `typechecked` does when Python runs optimised: nothing; with options, a decorator that does nothing."""
    return _as_written if target is None else target


if not os.environ.get(AS_SHIPPED):
    with contextlib.suppress(ImportError):  # of a Feast that does without
        import typeguard

        typeguard.typechecked = _as_written
