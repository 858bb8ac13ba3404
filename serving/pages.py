"""What a browser sees: the console, the API's documentation, the data docs and their files, all from this machine."""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from feature_repo.settings import PROJECT_ROOT, Settings
from serving.links import shows_data_docs

CONSOLE = Path(__file__).resolve().parent / "console"
SWAGGER_UI = PROJECT_ROOT / ".parts" / "node_modules" / "swagger-ui-dist"


DATA_DOCS_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'self' 'unsafe-inline' 'unsafe-eval' data:",
    "Access-Control-Allow-Origin": "*",  # their fonts; who may read this has no key to lose
}
"""The data docs bring scripts in their pages: they run in an origin of their own, which sees nothing of the console."""


def _whole(scope: Scope) -> Scope:
    """The request for all of a file: a Range may be ignored (RFC 9110), and Starlette refuses bad ones in plain text."""
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]}


class Page(FileResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(_whole(scope), receive, send)


class Files(StaticFiles):
    """Files of a folder; one that is not there, or no folder at all, is a 404."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(_whole(scope), receive, send)

    async def check_config(self) -> None:
        """Nothing to refuse: the folder may be written later."""


class DataDocs(Files):
    def file_response(self, full_path: str | os.PathLike[str], *arguments: Any, **options: Any) -> Response:
        response = super().file_response(full_path, *arguments, **options)
        response.headers.update(DATA_DOCS_HEADERS)
        return response


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Add /, /docs, /data-docs and /assets; a part that was not installed is a 404 under /assets, nothing else fails."""
    app.mount("/assets/console", Files(directory=CONSOLE), name="console")
    app.mount("/assets/swagger-ui", Files(directory=SWAGGER_UI, check_dir=False), name="swagger-ui")
    if shows_data_docs(settings):
        docs = DataDocs(directory=settings.data_dir / "data_docs", check_dir=False, html=True)
        app.mount("/data-docs", docs, name="data-docs")

    @app.get("/", include_in_schema=False)
    async def first_page() -> Page:
        return Page(CONSOLE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Page:
        return Page(CONSOLE / "docs.html")
