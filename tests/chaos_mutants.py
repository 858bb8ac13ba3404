"""`make chaos MUTANT=no-fence` (or all): the chaos against a copy of the project that lacks one safeguard.

It must fail on every mutant: 0 when it did. By default only the chaos's scenes are played; CHAOS_STORM=1 and the like make it
longer. It takes a minute or more a mutant, so the tests only hold that each edit still applies.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("plumbline", "feature_repo", "streaming", "stack", "pyproject.toml")
PATIENCE_S = 1_800
SHORT = {"CHAOS_EVENTS": "4000", "CHAOS_SECONDS": "10", "CHAOS_FOLDS": "2", "CHAOS_STORM": "0"}


@dataclass(frozen=True)
class Mutant:
    """A safeguard, and the edits (file, text that stands there once, text instead) that take it away."""

    name: str
    missing: str
    edits: tuple[tuple[str, str, str], ...]


FENCE = Mutant(
    "no-fence",
    "a state takes rows that it has seen, and nobody looks at what it was before it is overwritten",
    (
        ("plumbline/fold_batch.py", "np.maximum(fences, positions))", "positions)"),
        ("plumbline/fold_scripts.py", "if revision ~= ARGV[8] then", "if false then"),
    ),
)  # fmt: skip
POSITION = Mutant(
    "no-position",
    "the store's positions are not compared, so a fold with an old batch, or before an emptied store, is not told",
    (
        ("plumbline/fold_scripts.py", "at ~= -2 and (current[p] or '-1') ~= texts[at]", "false"),
        ("streaming/folding.py", "if (resume_at[p] or 0) != self._expected(TopicPartition(source.topic.name, p))",
         "if False"),
    ),
)  # fmt: skip
ORDER = Mutant(
    "positions-first",
    "positions move before the states are written, so that a death in between loses the batch",
    (
        ("plumbline/fold.py", "            states, damaged = self._folded(pending, batches)\n",
         "            none = NewStates([], *[np.zeros(0, np.int64)] * 2, np.zeros((0, 2), np.int64), [], np.zeros(0, bool))\n"
         "            moved = fold_scripts.write(self._client, pending, moves, none, self._revisions)\n"
         "            if any(outcome == 'position' for outcome, _ in moved):\n"
         "                raise PositionsLost('moved')\n"
         "            states, damaged = self._folded(pending, batches)\n"
         "            moves = moves._replace(expected=np.full_like(moves.expected, NOT_MOVED))\n"),
    ),
)  # fmt: skip
MUTANTS = (FENCE, POSITION, ORDER)


def copy_with(mutant: Mutant, folder: Path) -> None:
    """The parts of the checkout that run, with the mutant's edits; compiled kernels come along."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy2(source, folder / name)
    for name in (".venv", ".parts"):
        (folder / name).symlink_to(ROOT / name)
    for file, before, after in mutant.edits:
        text = (folder / file).read_text()
        assert text.count(before) == 1, f"{file} has changed: {before!r} stands there {text.count(before)} times"
        (folder / file).write_text(text.replace(before, after))


def run(mutant: Mutant) -> bool:
    """Whether the chaos fails on the mutant for what it found (and not because nothing started)."""
    with tempfile.TemporaryDirectory(prefix=f"chaos-{mutant.name}-") as name:
        folder = Path(name)
        copy_with(mutant, folder)
        environment = {**SHORT, **os.environ, "PYTHONPATH": str(folder), "DATA_DIR": str(folder / "data")}
        command = [sys.executable, "-m", "streaming.chaos"]
        done = subprocess.run(
            command, cwd=folder, env=environment, text=True, capture_output=True, timeout=PATIENCE_S, check=False
        )
    print(f"--- {mutant.name}: {mutant.missing}\n{done.stdout}{done.stderr[-2000:]}", flush=True)
    return done.returncode != 0 and "FAILED" in done.stdout


def main() -> int:
    known = [mutant.name for mutant in MUTANTS]
    asked = known if sys.argv[1:] == ["all"] else sys.argv[1:]
    if not asked or set(asked) - set(known):
        print(f"chaos_mutants: MUTANT is all, or one of {', '.join(known)}", file=sys.stderr)
        return 2
    survived = [mutant.name for mutant in MUTANTS if mutant.name in asked and not run(mutant)]
    print(f"survived: {', '.join(survived)}" if survived else "every mutant was caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
