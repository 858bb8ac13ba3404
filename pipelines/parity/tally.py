"""What parity has found so far: totals, differences by cause, and the answers that wait for the log."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.parity.causes import CAUSES, UNEXPLAINED, Cause, Unlogged, causes
from pipelines.parity.lag import EffectOfLag
from pipelines.recompute import Checked, NotYetInLogError, compare_all
from plumbline import FeatureStore

MOST_EXPLAINED = 50
"""Answers that are looked into; to name a cause takes many evaluations, and further answers rarely have a new one."""
MOST_EXAMPLES = 50
LATEST = 2_000
"""Checked answers that are kept, for the effect of lag."""


@dataclass(frozen=True)
class Mismatch:
    """One feature of one answer that is not what the log says."""

    request_id: str
    entity_row: Mapping[str, Any]
    as_of: str
    feature: str
    online: object
    offline: object
    cause: Cause

    def __str__(self) -> str:
        who = ", ".join(f"{key} {value}" for key, value in self.entity_row.items() if key.endswith("_id") and value is not None)
        about = f": {self.cause.detail}" if self.cause.detail else ""
        return (
            f"{self.feature} of {who} at {self.as_of}: answered {self.online}, the log says {self.offline}; "
            f"{self.cause.name}{about} (request {self.request_id})"
        )


@dataclass
class Tally:
    """Counts of answers and of their values; `pending` are the answers whose positions the log has not reached, `latest` those
    that were compared last."""

    answers: int = 0
    equal: int = 0
    different: int = 0
    values: int = 0
    unreadable: int = 0
    mismatches: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(CAUSES, 0)))
    unverifiable: Counter[str] = field(default_factory=Counter)
    examples: list[Mismatch] = field(default_factory=list)
    pending: list[Mapping[str, Any]] = field(default_factory=list)
    latest: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=LATEST))
    effect_of_lag: EffectOfLag | None = None
    waits_for: str = ""
    explained: int = 0

    @property
    def different_values(self) -> int:
        return sum(self.mismatches.values())

    def check(self, store: FeatureStore, answers: Sequence[Mapping[str, Any]], unlogged: Unlogged) -> list[Mismatch]:
        """Count new answers, and those that were pending; returns what differs."""
        found: list[Mismatch] = []
        waiting, self.pending = [*self.pending, *answers], []
        self.answers += len(answers)
        for checked in compare_all(store, waiting):
            if isinstance(checked.problem, NotYetInLogError):
                self.pending.append(checked.answer)
                self.waits_for = str(checked.problem)
            elif checked.problem is not None:
                self.unverifiable[str(checked.problem)] += 1
            else:
                self.values += len(checked.compared)
                self.latest.append(checked.answer)
                found += self._differences(store, checked, unlogged)
        self.examples += found[: MOST_EXAMPLES - len(self.examples)]
        return found

    def _differences(self, store: FeatureStore, checked: Checked, unlogged: Unlogged) -> list[Mismatch]:
        if not checked.differing:
            self.equal += 1
            return []
        self.different += 1
        self.explained += 1
        named = causes(store, checked, unlogged) if self.explained <= MOST_EXPLAINED else {}
        answer = checked.answer
        found = [
            Mismatch(
                answer["request_id"], answer["entity_row"], answer["as_of"], each.feature, each.online, each.offline,
                named.get(each.feature, Cause(UNEXPLAINED, f"only {MOST_EXPLAINED} answers are looked into")),
            )
            for each in checked.differing
        ]  # fmt: skip
        self.mismatches.update(mismatch.cause.name for mismatch in found)
        return found

    def said(self) -> str:
        """The totals in one line."""
        return (
            f"{self.answers:,} answers: {self.equal:,} equal, {self.different:,} different, {len(self.pending):,} pending, "
            f"{sum(self.unverifiable.values()):,} unverifiable; {self.values:,} values compared, "
            f"{self.different_values:,} mismatches"
        )

    def report(self) -> dict[str, Any]:
        """The totals as reports/parity.json holds them; mismatches are values, by_reason tells of the unverifiable."""
        return {
            "answers": self.answers,
            "equal": self.equal,
            "different": self.different,
            "pending": len(self.pending),
            "unverifiable": sum(self.unverifiable.values()),
            "unreadable": self.unreadable,
            "values": self.values,
            "mismatches": self.different_values,
            "by_cause": dict(self.mismatches),
            "by_reason": dict(self.unverifiable),
            "effect_of_lag": self.effect_of_lag and self.effect_of_lag._asdict(),
            "examples": [str(mismatch) for mismatch in self.examples],
        }
