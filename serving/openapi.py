"""The OpenAPI document: FastAPI's, with the request bodies, the keys and the errors that it cannot see by itself."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving import messages, problems

ERRORS = {
    401: "No API key, or an unknown one",
    403: "The key lacks the scope",
    413: "The body is larger than 1 MB",
    415: "The body is not JSON",
    422: "The request does not fit; nothing was decided",
    429: "The key asks more than RATE_LIMIT_PER_S; see Retry-After",
    500: "The service failed; nothing was decided",
    503: "The store is away, or the service at its capacity; see Retry-After",
}
BODIES: list[type[BaseModel]] = [messages.ScoreRequest, messages.BatchRequest, problems.ProblemBody]
_REFERENCE = "#/components/schemas/{model}"


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with these errors."""
    schema = {"$ref": _REFERENCE.format(model=problems.ProblemBody.__name__)}
    return {
        status: {"description": ERRORS[status], "content": {problems.MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra=` of a route that reads `model` as JSON."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def add_openapi(app: FastAPI) -> None:
    """Replace the app's document; computed once, when first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, summary=app.summary
    )
    components = document.setdefault("components", {})
    _, bodies = models_json_schema([(model, "validation") for model in BODIES], ref_template=_REFERENCE)
    components.setdefault("schemas", {}).update(bodies["$defs"])
    components["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    }
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["security"] = [{"ApiKey": []}, {"Bearer": []}]
    return document
