"""`make setup`: install everything into the checkout, and nothing when it is there already.

Runs on the system's Python, before anything is installed: standard library only. This file must stay readable to a
Python that is too old, which could not say so otherwise: no new syntax here.
"""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)


def main() -> None:
    """Install what is missing; exits with 1 and one clear message when that cannot be done."""
    if sys.version_info < OLDEST:
        _go_on_with_a_newer_python()
    from stack import browser_parts, jvm_parts, kernel_parts, python_parts, stamps, steps
    from stack.java import NoJava

    try:
        with stamps.one_set_up_at_a_time():
            for_tests = "--without-dev" not in sys.argv
            python_parts.install(lock="dev" if for_tests else "app")
            jvm_parts.install()
            browser_parts.install(for_tests=for_tests)
            kernel_parts.install()
    except (steps.StepFailed, python_parts.NoVenv, browser_parts.NoNode, NoJava) as problem:
        sys.exit(f"make setup: {problem}")


def _go_on_with_a_newer_python() -> None:
    here = "%d.%d" % sys.version_info[:2]
    for name in ("python3.13", "python3.12", "python3.11", "python3.14", "python3"):
        path = shutil.which(name)
        if path and subprocess.call([path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]) == 0:
            os.execv(path, [path, "-m", "stack.install"] + sys.argv[1:])
    sys.exit(
        "make setup: Python 3.11 or newer is needed, this is %s (%s) and no newer one is on PATH. Install one, or name it: make PYTHON=/path/to/python3.11"
        % (here, sys.executable)
    )


if __name__ == "__main__":
    main()
