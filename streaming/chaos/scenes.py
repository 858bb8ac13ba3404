"""What chance would take long to bring about: moments at which only a fence, a position or the order of the writes helps.

They come after the last fault that repairs a store (materialize) or forgets it, so that what they break stays to be found.
"""

import os
import signal
import time
from collections.abc import Callable

from plumbline import FeatureStore
from streaming import manifests
from streaming.chaos.ambush import ANSWERED, BEFORE, FOLD, MATERIALIZE, MOVED
from streaming.chaos.ends import last_offsets
from streaming.chaos.storm import Tell
from streaming.chaos.victims import NotUp, Victims
from streaming.event_topics import TRANSACTIONS

VIEW = "user_activity"
"""The view whose positions victims are caught at; of the scenes' topic."""
CAUGHT_WITHIN_S = 600.0
GOES_ON_WITHIN_S = 600.0
LOOK_EVERY_S = 0.2
REWINDS = 3
"""The store may begin a new file just then; how often the scene is tried."""
FORGOTTEN = 200
"""Records that a store has forgotten that goes back, at the least."""
AHEAD = 100
"""Records of each partition by which the log is ahead of the stopped folds, at the least: of the few users of a small
batch, some must have newer ones."""


class Scenes:
    """Each ends with every process running or being started."""

    def __init__(self, victims: Victims, store: FeatureStore, tell: Tell) -> None:
        self._victims, self._store, self._tell = victims, store, tell

    def play(self) -> None:
        """All of them, in the order in which none hides what another broke. Raises NotUp."""
        self._victims.heal_wholly()
        self.fold_and_materialize_overtake_each_other()
        self.fold_dies_as_its_positions_move()
        self.store_goes_back_under_a_fold()

    def fold_and_materialize_overtake_each_other(self) -> None:
        """Materialize installs states that are ahead of a batch under way, and moves the positions after the batch is written.

        fold          reads states . . . . . . . . . . . writes . . .
        materialize            installs newer states . . . . . . . . moves positions past them
        """
        fold = self._catch(FOLD, BEFORE, signal.SIGSTOP)
        self._victims.signal(self._victims.folds, signal.SIGSTOP)
        self._await_archive()
        self._victims.await_materialized()
        self._victims.begin_materialize(VIEW)
        materialize = self._catch(MATERIALIZE, BEFORE, signal.SIGSTOP)
        self._tell("stopped a fold with a batch, and materialize with newer states, before each moves the positions")
        self._victims.ambushes.lay(FOLD, ANSWERED, VIEW, signal.SIGSTOP)
        os.kill(fold, signal.SIGCONT)
        self._victims.ambushes.caught(FOLD, ANSWERED, CAUGHT_WITHIN_S)
        os.kill(materialize, signal.SIGCONT)
        self._victims.await_materialized()
        self._tell("the fold wrote first, then materialize moved the positions")
        self._victims.signal(self._victims.folds, signal.SIGCONT)
        self._victims.heal()

    def fold_dies_as_its_positions_move(self) -> None:
        """Killed as soon as the positions have moved: nothing of the batch may be missing then."""
        self._catch(FOLD, MOVED, signal.SIGKILL)
        self._tell("kill -9 a fold as soon as it had moved the positions")
        self._victims.heal()

    def store_goes_back_under_a_fold(self) -> None:
        """The store comes up as it was some records ago (a disk that lied) while a fold holds its next batch."""
        for _ in range(REWINDS):
            file, size = self._victims.appended()
            self._await_folded(FORGOTTEN)
            fold = self._catch(FOLD, BEFORE, signal.SIGSTOP)
            self._victims.signal(["redis"], signal.SIGKILL)
            newest, now = self._victims.appended()
            if newest == file:
                os.truncate(file, size)
                self._tell(f"kill -9 redis under a fold with a batch; the store has forgotten its last {now - size:,} bytes")
            self._victims.heal()
            os.kill(fold, signal.SIGCONT)
            if newest == file:
                return
        raise NotUp("The store began a new file whenever it was to go back.")

    def _catch(self, role: str, moment: str, number: signal.Signals) -> int:
        self._victims.ambushes.lay(role, moment, VIEW, number)
        pid = self._victims.ambushes.caught(role, moment, CAUGHT_WITHIN_S)
        if pid is None:
            raise NotUp(f"No {role} moved the positions of {VIEW} within {CAUGHT_WITHIN_S:g} s.")
        return pid

    def _await_archive(self) -> None:
        """Wait until the log holds a little more of each partition than any fold can have read."""
        settings = self._victims.settings
        read = last_offsets(settings.kafka_bootstrap_servers)[TRANSACTIONS.name]
        log = TRANSACTIONS.log_path(settings)

        def is_ahead() -> bool:
            archived = manifests.committed(log)
            return all(archived.get(partition, -1) > end + AHEAD for partition, end in read.items())

        _await(is_ahead, "The archive did not go on.")

    def _await_folded(self, records: int) -> None:
        before = sum(self._store.positions(VIEW).values())
        _await(lambda: sum(self._store.positions(VIEW).values()) >= before + records, "The folds did not go on.")


def _await(ask: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + GOES_ON_WITHIN_S
    while not ask():
        if time.monotonic() > deadline:
            raise NotUp(f"{complaint} It was waited for {GOES_ON_WITHIN_S:g} s.")
        time.sleep(LOOK_EVERY_S)
