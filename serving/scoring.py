"""From a request to a decision: entity rows, one read of the store, the model, the reasons."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from opentelemetry.trace import Tracer

from plumbline import StoreUnavailable
from serving.applied import Applied
from serving.binding import Models
from serving.instants import epoch_us, format_instant
from serving.messages import ScoreRequest, Transaction
from serving.metrics import Metrics
from serving.model_file import Model
from serving.problems import unprocessable
from serving.recorded import Recorded
from serving.shadow import Shadow
from serving.traces import SILENT

REASONS = 5
JOIN_KEYS = frozenset({"user_id", "merchant_id", "device_id"})
"""Names in an entity row by which the store is asked; a null one reads as the empty history."""


@dataclass(frozen=True)
class Scored:
    """An answer, and what the decision log needs besides."""

    response: dict[str, Any]
    feature_service: str
    definition_hash: str
    entity_row: dict[str, Any]
    event_id: str | None
    shadow: dict[str, Any] | None = None

    def log_record(self, latency_ms: float) -> dict[str, Any]:
        """The record of topic `decisions`: the answer, what it was computed for, how long that took, and what a challenger
        in the shadow said."""
        return {
            **self.response,
            **({} if self.shadow is None else {"shadow": self.shadow}),
            "feature_service": self.feature_service,
            "definition_hash": self.definition_hash,
            "entity_row": self.entity_row,
            "event_id": self.event_id,
            "latency_ms": round(latency_ms, 3),
        }


class Scorer:
    """Scores requests with the bound models; blocking, thread-safe, opens nothing.

    store needs read_online() as plumbline.FeatureStore has it; models by name, a reason where there is none.
    """

    def __init__(
        self, store: Any, models: Models, applied: Applied, metrics: Metrics, shadow: Shadow, tracer: Tracer = SILENT
    ) -> None:
        self.recorded, self._shadow, self._tracer = Recorded(), shadow, tracer
        self._store, self._models, self._applied, self._metrics = store, models, applied, metrics

    def model_for(self, request: ScoreRequest) -> Model:
        """The model that scores this request. Raises the 422 Problem with the reason where there is none."""
        model = self._models.get(request.model_name, f"model {request.model_name} is not served here")
        if isinstance(model, str):
            remedy = "Run `make train` on a log that has what is missing, then start the service again."
            raise unprocessable("no-model", model, "model", remedy)
        return model

    def score(self, requests: Sequence[ScoreRequest], request_ids: Sequence[str], now: datetime) -> list[Scored]:
        """One answer for each request, in order; requests of one model and instant share a read.

        Raises the 503 Problem when other definitions are applied than a model was trained on, and what the store raises.
        """
        scored: dict[int, Scored] = {}
        for at, members in self._groups(requests, now):
            chosen = [requests[index] for index in members]
            answers = self._score_group(chosen, [request_ids[index] for index in members], at)
            scored.update(zip(members, answers, strict=True))
        return [scored[index] for index in range(len(requests))]

    def score_each(
        self, requests: Sequence[ScoreRequest], request_ids: Sequence[str], now: datetime
    ) -> list[Scored | Exception]:
        """The same for requests that have nothing to do with each other: each has its answer or its own error."""
        outcomes: dict[int, Scored | Exception] = {}
        for at, members in self._groups(requests, now):
            chosen, identifiers = [requests[index] for index in members], [request_ids[index] for index in members]
            try:
                answers: Sequence[Scored | Exception] = self._score_group(chosen, identifiers, at)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  raised again by whoever waits for the answer
                alone = len(members) == 1
                answers = [error] if alone else [self._alone(*one, now) for one in zip(chosen, identifiers, strict=True)]
            outcomes.update(zip(members, answers, strict=True))
        return [outcomes[index] for index in range(len(requests))]

    def _alone(self, request: ScoreRequest, request_id: str, now: datetime) -> Scored | Exception:
        return self.score_each([request], [request_id], now)[0]

    @staticmethod
    def _groups(requests: Sequence[ScoreRequest], now: datetime) -> list[tuple[datetime, list[int]]]:
        """Instant and indices of the requests that may share a read: those of one model and instant."""
        groups: dict[tuple[str, datetime], list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault((request.model_name, instant_of(request, now)), []).append(index)
        return [(at, members) for (_, at), members in groups.items()]

    def _score_group(self, requests: list[ScoreRequest], request_ids: list[str], at: datetime) -> list[Scored]:
        model = self.model_for(requests[0])
        self._applied.require(model)
        entity_rows = [entity_row(request, at) for request in requests]
        started = time.perf_counter()
        with self._tracer.start_as_current_span("store.read"):
            answers = self._store.read_online(model.reads, entity_rows, at=at)
        self._metrics.store_reads.observe(time.perf_counter() - started)
        self._metrics.overflows.inc(sum(len(answer.overflows) for answer in answers))
        for row in entity_rows:
            self.recorded.keep(model.name, row)
        with self._tracer.start_as_current_span("model") as span:
            span.set_attribute("plumbline.model", f"{model.name}/{model.version}")
            return self._judged(model, requests, request_ids, entity_rows, answers)

    def without_history(self, request: ScoreRequest, request_id: str, now: datetime) -> Scored:
        """The answer for a store that is away: from the request alone, with the features of an empty history. Asks no store.

        Raises the 503 Problem when other definitions are applied than the model was trained on.
        """
        model, at = self.model_for(request), instant_of(request, now)
        self._applied.require(model)
        asked = entity_row(request, at)
        nobody = {name: None if name in JOIN_KEYS else value for name, value in asked.items()}
        answers = self._store.read_online(model.reads, [nobody], at=at)
        (scored,) = self._judged(model, [request], [request_id], [asked], answers, degraded=True)
        self._metrics.degraded.labels(model.name).inc()
        return replace(scored, response=scored.response | {"degraded": True})

    def _judged(
        self,
        model: Model,
        requests: Sequence[ScoreRequest],
        request_ids: Sequence[str],
        entity_rows: Sequence[dict[str, Any]],
        answers: Sequence[Any],
        *,
        degraded: bool = False,
    ) -> list[Scored]:
        """What the model says of the features that were read; degraded ones say nothing of how features are distributed."""
        features = [answer.features for answer in answers]
        rows = model.rows(features)
        scores = model.scores(rows)
        if not degraded:
            self._metrics.drift.seen(model, rows, scores)
        why = self._reasons(model, requests, scores, rows)
        beside = self._shadow.beside(model, features)
        self._compare(model, scores, beside)
        know = self._applied.user_views.know
        return [
            Scored(
                self._response(request, request_id, answer, model, score, why.get(index), know(answer.found)),
                model.feature_service,
                model.definition_hash,
                entity_rows[index],
                request.transaction.event_id if request.transaction else None,
                beside[index],
            )
            for index, (request, request_id, answer, score) in enumerate(
                zip(requests, request_ids, answers, scores, strict=True)
            )
        ]

    def _compare(self, model: Model, scores: Sequence[float], beside: Sequence[dict[str, Any] | None]) -> None:
        for score, other in zip(scores, beside, strict=True):
            if other is not None:
                same = "yes" if other["decision"] == model.decision(score) else "no"
                self._metrics.shadow.labels(model.name, same).inc()

    @staticmethod
    def _reasons(
        model: Model, requests: Sequence[ScoreRequest], scores: Sequence[float], rows: np.ndarray
    ) -> dict[int, np.ndarray]:
        """Index -> contributions (features,) of the requests that are explained: not approved, or asked to be."""
        explained = [
            index
            for index, (request, score) in enumerate(zip(requests, scores, strict=True))
            if request.explain or model.decision(score) != "approve"
        ]
        return dict(zip(explained, model.contributions(rows[explained]), strict=True)) if explained else {}

    def _response(
        self,
        request: ScoreRequest,
        request_id: str,
        answer: Any,
        model: Model,
        score: float,
        why: np.ndarray | None,
        known: bool,
    ) -> dict[str, Any]:
        decision = model.decision(score)
        self._metrics.scores.labels(model.name).observe(score)
        self._metrics.decisions.labels(model.name, decision).inc()
        return {
            "request_id": request_id,
            "user_id": request.user_id,
            "known": known,
            "score": score,
            "decision": decision,
            "reasons": [] if why is None else reasons(model, why, answer.features),
            "model": {"name": model.name, "version": model.version},
            "as_of": format_instant(answer.as_of),
            "positions": answer.positions,
            "features": answer.features,
        }


def reasons(model: Model, contributions: np.ndarray, features: dict[str, Any]) -> list[dict[str, Any]]:
    """The features that moved a row's log-odds most, either way, largest first; contributions (features,)."""
    largest = np.argsort(-np.abs(contributions), kind="stable")[:REASONS]
    return [
        {"feature": name, "value": features[name], "contribution": float(contributions[index])}
        for index in largest.tolist()
        for name in (model.features[index],)
    ]


def instant_of(request: ScoreRequest, now: datetime) -> datetime:
    """The instant of a request's answer: its transaction's, else now."""
    return (request.transaction and request.transaction.event_timestamp) or now


def entity_row(request: ScoreRequest, at: datetime) -> dict[str, Any]:
    """Join keys and request-time fields; what the transaction does not say is None."""
    transaction = request.transaction
    if transaction is None:
        return {"user_id": request.user_id}
    return {
        "user_id": request.user_id,
        "merchant_id": transaction.merchant_id,
        "device_id": transaction.device_id,
        **_request_fields(transaction, at),
    }


def _request_fields(transaction: Transaction, at: datetime) -> dict[str, Any]:
    return {
        "transaction_amount_cents": transaction.amount_cents,
        "transaction_event_type": transaction.event_type,
        "transaction_category": transaction.category,
        "transaction_channel": transaction.channel,
        "transaction_country": transaction.country,
        "transaction_time_us": epoch_us(at),
    }


def now_utc() -> datetime:
    return datetime.now(UTC)
