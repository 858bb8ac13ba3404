"""What goes in and what comes out, as /openapi.json shows it; every limit of a request stands here."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from feature_repo.event_schema import CONTROL_CHARACTERS, EVENT_TYPES, LONGEST_ID, MAX_AMOUNT_CENTS
from serving.champions import ACCOUNT_MODEL, TRANSACTION_MODEL
from serving.instants import parse_instant

MOST_REQUESTS = 1_000

_NO_CONTROL = f"^[^{CONTROL_CHARACTERS}]*$"


def _known_event_type(text: str) -> str:
    if text not in EVENT_TYPES:
        raise ValueError(f"event_type is one of {', '.join(EVENT_TYPES)}")
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID, pattern=_NO_CONTROL)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_ID, pattern=_NO_CONTROL)]
Instant = Annotated[
    datetime,
    PlainValidator(parse_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with a UTC offset"}),
]


EventType = Annotated[str, AfterValidator(_known_event_type), WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Transaction(_Request):
    """The log's payload columns; a column left out is null. Money is in minor units (cents)."""

    user_id: Id | None = Field(default=None, description="the request's own, when given")
    merchant_id: Id | None = None
    device_id: Id | None = None
    event_type: EventType | None = None
    category: Text | None = None
    channel: Text | None = None
    country: Text | None = None
    amount_cents: Annotated[int, Field(ge=0, le=MAX_AMOUNT_CENTS)] | None = None
    session_id: Id | None = None
    event_id: Id | None = None
    event_timestamp: Instant | None = Field(default=None, description="answer as of this instant; left out: now")


class ScoreRequest(_Request):
    """Score a transaction of a user, or without one the user's account."""

    user_id: Id
    transaction: Transaction | None = None
    model: Literal["transaction_fraud", "account_risk"] | None = Field(
        default=None, description="must fit: an account has no transaction"
    )
    explain: bool = Field(default=False, description="give reasons for approvals too")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        natural = self.model_name
        if self.model is not None and self.model != natural:
            given = "with" if self.transaction is not None else "without"
            raise ValueError(f"model {self.model} does not score a request {given} transaction; {natural} does")
        if self.transaction is not None and self.transaction.user_id not in (None, self.user_id):
            raise ValueError("transaction.user_id differs from user_id; leave it out or give the same")
        return self

    @property
    def model_name(self) -> str:
        """The model that scores such a request."""
        return ACCOUNT_MODEL if self.transaction is None else TRANSACTION_MODEL


class BatchRequest(_Request):
    """Many requests at once: answered in this order, or refused whole."""

    requests: Annotated[list[ScoreRequest], Field(min_length=1, max_length=MOST_REQUESTS)]


class Reason(BaseModel):
    feature: str = Field(description="full name, view__feature")
    value: Any = Field(description="as the model saw it; null is missing")
    contribution: float = Field(description="exact share in the log-odds of the score (TreeSHAP)")


class ModelName(BaseModel):
    name: str
    version: str


class FeaturesResponse(BaseModel):
    """A user's features at an instant, and which events they were computed from."""

    user_id: str
    known: bool = Field(description="whether the store holds any state of the user")
    as_of: str = Field(description="RFC 3339, microseconds, UTC")
    positions: dict[str, dict[str, Any]] = Field(description="view -> partition -> last offset applied; and history")
    features: dict[str, Any] = Field(description="view__feature -> value; null is missing")


class ScoreResponse(FeaturesResponse):
    request_id: str
    score: float = Field(ge=0, le=1)
    decision: Literal["approve", "review", "decline"]
    reasons: list[Reason] = Field(description="largest contributions first; empty for an approval not asked to explain")
    model: ModelName
    degraded: bool = Field(
        default=False,
        description="true: the store was away, the features are those of an empty history (STORE_AWAY=degrade); else left out",
    )


class BatchResponse(BaseModel):
    responses: list[ScoreResponse]


class KeptEvent(BaseModel):
    event_timestamp: str = Field(description="RFC 3339, microseconds, UTC")
    columns: dict[str, Any] = Field(description="the view's raw columns that are not null; true where only presence is kept")


class ViewEvents(BaseModel):
    since: str | None = Field(description="from this instant on no event is missing; null without any state")
    events: list[KeptEvent] = Field(description="in order of their time")


class EventsResponse(BaseModel):
    """A user's recent events, as each windowed view still holds them raw; older ones are merged and no longer apart."""

    user_id: str
    known: bool = Field(description="whether the store holds any state of the user")
    views: dict[str, ViewEvents]


class ServedModel(BaseModel):
    version: str
    feature_service: str
    definition_hash: str = Field(description="of the feature definitions that it was trained on")
    features: list[str]
    thresholds: dict[str, float]
    calibration: dict[str, float]


class ModelCard(BaseModel):
    name: str
    served: ServedModel | None = Field(description="null where the model could not be trained")
    absent: str | None = Field(description="why it is not served")
    versions: list[dict[str, Any]] = Field(description="the registry's newest versions, newest first, with their metrics")
    last_training: dict[str, Any] | None = Field(description="the training report of this model, with the gate's decision")


class ModelsResponse(BaseModel):
    models: list[ModelCard]


class ViewStatus(BaseModel):
    topic: str
    positions: dict[str, int] = Field(description="partition -> last offset that every shard of the store has applied")
    lag_records: int | None = Field(description="records of the topic that the view lacks; null where no fold says")


class StatusResponse(BaseModel):
    """How the platform is doing, as far as this process can see; looked at once a second at most."""

    store: Literal["ok", "away"]
    views: dict[str, ViewStatus]
    folds: list[dict[str, Any]] = Field(description="what each fold on this machine says; empty where none answers")
    parity: Any = Field(description="the report of the last parity run; null where there was none")
    links: dict[str, str] = Field(description="where data docs, MLflow and Feast's interface are, as far as they are there")
