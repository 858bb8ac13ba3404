"""Who judges an event: the rules, over features of the online store, and the models, by the serving API."""

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from feature_repo.settings import Settings
from plumbline import AsOfTooOld, FeatureStore
from streaming.alert_rules import RULES
from streaming.alert_topic import alert

Event = Mapping[str, Any]
SCORED_FIELDS = (
    "event_id",
    "merchant_id",
    "device_id",
    "event_type",
    "category",
    "channel",
    "country",
    "amount_cents",
    "session_id",
)
ANSWER_WITHIN_S = 10.0
AT_ONCE = 50


class NotJudged(Exception):
    """An event that nobody can judge any more, or ever; the message is why, in one or two words."""


class ApiAway(Exception):
    """The API does not answer, or says that it cannot now: ask again later."""


class Judge(Protocol):
    """Gives, for each event of a list, its alerts, or why it could not be judged."""

    name: str

    def judge(self, events: Sequence[Event]) -> list[list[dict[str, Any]] | NotJudged]: ...


class Rules:
    """The plain rules, over features as they were at the event's own time: an event never counts itself."""

    name = "rules"

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._features = list(dict.fromkeys(feature for rule in RULES for feature in rule.reads))

    def judge(self, events: Sequence[Event]) -> list[list[dict[str, Any]] | NotJudged]:
        """Raises StoreUnavailable, and FeatureViewNotFoundException while a rule's view is not applied."""
        return [self._judged(event) for event in events]

    def _judged(self, event: Event) -> list[dict[str, Any]] | NotJudged:
        row = {key: event[key] for key in ("user_id", "merchant_id", "device_id")}
        try:
            (answer,) = self._store.read_online(self._features, [row], at=event["event_timestamp"])
        except AsOfTooOld:
            return NotJudged("too old")
        return [
            alert(
                event,
                rule.name,
                reason,
                features={name: answer.features[name] for name in (ref.replace(":", "__") for ref in rule.reads)},
                as_of=answer.as_of.isoformat(),
                positions=answer.positions,
            )
            for rule in RULES
            if (reason := rule.reason(event, answer.features))
        ]


class Scores:
    """The transaction model's decision: everything that it does not approve. The API logs every score to `decisions`."""

    name = "scores"

    def __init__(self, settings: Settings) -> None:
        self._connection = http.client.HTTPConnection(settings.api_reached_at, settings.api_port, timeout=ANSWER_WITHIN_S)
        self._headers = {"Content-Type": "application/json", **settings.key_header}

    def judge(self, events: Sequence[Event]) -> list[list[dict[str, Any]] | NotJudged]:
        """Raises ApiAway."""
        parts = [events[begin : begin + AT_ONCE] for begin in range(0, len(events), AT_ONCE)]
        return [judged for part in parts for judged in self._judged(part)]

    def _judged(self, events: Sequence[Event]) -> list[list[dict[str, Any]] | NotJudged]:
        """The API refuses a list whole, so one that it refuses is asked about event by event."""
        status, body = self._post("/v1/score/batch", {"requests": [_request(event) for event in events]})
        if status == http.client.OK:
            return [_alerts(event, answer) for event, answer in zip(events, body["responses"], strict=True)]
        if len(events) == 1:
            return [NotJudged(body.get("title", f"status {status}"))]
        return [judged for event in events for judged in self._judged([event])]

    def _post(self, path: str, content: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            self._connection.request("POST", path, json.dumps(content), self._headers)
            answer = self._connection.getresponse()
            status, body = answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise ApiAway(f"the API does not answer ({error!r}); `make serve` starts it") from None
        if status in (http.client.OK, http.client.UNPROCESSABLE_ENTITY):
            return status, body
        raise ApiAway(f"the API answered {status}: {body.get('title', '')} {body.get('detail', '')}".strip())


def _request(event: Event) -> dict[str, Any]:
    fields = {name: event[name] for name in SCORED_FIELDS if event[name] is not None}
    return {"user_id": event["user_id"], "transaction": {**fields, "event_timestamp": event["event_timestamp"].isoformat()}}


def _alerts(event: Event, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    if answer["decision"] == "approve":
        return []
    moved = ", ".join(f"{reason['feature']} {reason['value']}" for reason in answer["reasons"][:3])
    reason = f"{answer['model']['name']} {answer['model']['version']} says {answer['decision']}: {moved}"
    more = {name: answer[name] for name in ("score", "decision", "model", "request_id", "as_of", "positions")}
    return [alert(event, "score", reason, **more)]
