"""The engine's compiled loops: made once, at set-up, so that no first run has to wait for the compiler."""

from feature_repo.settings import PROJECT_ROOT
from stack import stamps, steps
from stack.python_parts import LOGS, VENV, VENV_PYTHON

PROGRAM = PROJECT_ROOT / "plumbline" / "compiled.py"
DONE = LOGS / "kernels"


def install() -> None:
    """Run `python -m plumbline.compiled` once for each content of .venv; edited loops compile when they are first used.

    Nothing where the checkout has no such program (an image takes its sources later). Raises steps.StepFailed.
    """
    wanted = stamps.read(VENV)
    if stamps.read(DONE) == wanted or not _is_program():
        return
    DONE.mkdir(exist_ok=True)
    title = "Compiling the engine's loops (a minute or two the first time)"
    steps.run(title, [VENV_PYTHON, "-m", "plumbline.compiled"], LOGS / "kernels.log", cwd=PROJECT_ROOT)
    stamps.write(DONE, wanted)


def _is_program() -> bool:
    return PROGRAM.exists() and "__main__" in PROGRAM.read_text()
