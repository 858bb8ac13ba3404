"""What is done to the processes, in a seeded order: killed, paused, emptied, cut short; and started again."""

import os
import random
import signal
import time
from collections.abc import Callable

from streaming.chaos.ambush import BEFORE, FOLD, MOVED
from streaming.chaos.victims import Victims

SHARES_OF_WIPES = (0.3, 0.65)
"""When the store loses everything: these shares of the way through. After the first, materialize and folds fill it at once."""
DOWN_S = (0.0, 3.0)
CALM_S = (0.5, 5.0)
ZOMBIE_S = (7.0, 12.0)
"""A fold is paused for longer than its session lasts, so that the others take its partitions over."""
HICCUP_S = (0.5, 3.0)
CAUGHT_WITHIN_S = 5.0
LONGEST_CUT = 0.2
VIEWS = ("user_activity", "user_chargebacks")
"""A fold is caught as it moves the positions of one of them: of either topic."""

Tell = Callable[[str], None]


class Storm:
    """Faults, one after the other, until the sending is over."""

    def __init__(self, victims: Victims, seed: int, tell: Tell) -> None:
        self._victims, self._random, self._tell = victims, random.Random(seed), tell
        self._wipes = list(SHARES_OF_WIPES)
        self._faults: list[Callable[[], None]] = []

    def next(self, share_done: float) -> None:
        """One fault and its repair; `share_done` says how much of the sending is over. Raises NotUp."""
        if self._wipes and share_done >= self._wipes[0]:
            self._fill_anew() if self._wipes.pop(0) == SHARES_OF_WIPES[0] else self._empty_store()
        else:
            self._deal()()
        time.sleep(self._random.uniform(*DOWN_S))
        self._victims.heal()
        time.sleep(self._random.uniform(*CALM_S))

    @property
    def is_owed(self) -> bool:
        """Whether the store has still to lose everything once more."""
        return bool(self._wipes)

    def _deal(self) -> Callable[[], None]:
        """The next fault of a shuffled deck, so that a short storm has every kind early."""
        if not self._faults:
            self._faults = [
                self._kill_fold, self._kill_broker, self._pause_fold, self._kill_store, self._kill_archive,
                self._kill_folds, self._cut_store, self._hiccup, self._materialize, self._kill_mid_batch, self._zombie,
            ]  # fmt: skip
            self._random.shuffle(self._faults)
        return self._faults.pop()

    def _kill_fold(self) -> None:
        self._kill([self._random.choice(self._victims.folds)])

    def _kill_folds(self) -> None:
        self._kill(self._victims.folds)

    def _kill_archive(self) -> None:
        self._kill(["archive"])

    def _kill_broker(self) -> None:
        self._kill(["kafka"])

    def _kill_store(self) -> None:
        self._kill(["redis"])

    def _cut_store(self) -> None:
        self._kill(["redis"])
        file, size = self._victims.appended()
        cut = round(size * self._random.uniform(0, LONGEST_CUT))
        os.truncate(file, size - cut)
        self._tell(f"the store lost the last {cut:,} bytes of its file")

    def _empty_store(self) -> None:
        """Under running folds, which must notice."""
        self._kill(["redis"])
        self._victims.forget_store()
        self._tell("the store lost everything")

    def _fill_anew(self) -> None:
        """Folds from the topic and materialize from the log, at the same time."""
        self._kill(self._victims.folds)
        self._empty_store()
        self._victims.heal()
        self._materialize()

    def _pause_fold(self) -> None:
        self._pause(self._random.choice(self._victims.folds), self._random.uniform(*ZOMBIE_S))

    def _zombie(self) -> None:
        """A fold with a batch in its hands wakes up when others have folded on."""
        pid = self._catch(BEFORE, signal.SIGSTOP)
        if pid:
            seconds = self._random.uniform(*ZOMBIE_S)
            self._tell(f"stop a fold with a batch for {seconds:.1f} s")
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    def _kill_mid_batch(self) -> None:
        moment, words = self._random.choice([(BEFORE, "before it moved"), (MOVED, "as soon as it had moved")])
        if self._catch(moment, signal.SIGKILL):
            self._tell(f"kill -9 a fold {words} the positions")

    def _catch(self, moment: str, number: signal.Signals) -> int | None:
        self._victims.ambushes.lay(FOLD, moment, self._random.choice(VIEWS), number)
        return self._victims.ambushes.caught(FOLD, moment, CAUGHT_WITHIN_S)

    def _hiccup(self) -> None:
        self._pause(self._random.choice(["redis", "kafka", "archive"]), self._random.uniform(*HICCUP_S))

    def _materialize(self) -> None:
        if self._victims.begin_materialize():
            self._tell("materialize, beside the folds")

    def _kill(self, names: list[str]) -> None:
        killed = self._victims.signal(names, signal.SIGKILL)
        self._tell(f"kill -9 {' '.join(killed) or '(nobody left of ' + ' '.join(names) + ')'}")

    def _pause(self, name: str, seconds: float) -> None:
        if self._victims.signal([name], signal.SIGSTOP):
            self._tell(f"pause {name} for {seconds:.1f} s")
            time.sleep(seconds)
            self._victims.signal([name], signal.SIGCONT)
