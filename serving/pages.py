"""What a browser sees: the first page, the API's documentation and their files, all from this machine."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from feature_repo.settings import PROJECT_ROOT

CONSOLE = Path(__file__).resolve().parent / "console"
SWAGGER_UI = PROJECT_ROOT / ".parts" / "node_modules" / "swagger-ui-dist"


def add_pages(app: FastAPI) -> None:
    """Add /, /docs and /assets; a part that was not installed is a 404 under /assets, nothing else fails."""
    app.mount("/assets/console", StaticFiles(directory=CONSOLE), name="console")
    app.mount("/assets/swagger-ui", StaticFiles(directory=SWAGGER_UI, check_dir=False), name="swagger-ui")

    @app.get("/", include_in_schema=False)
    async def first_page() -> FileResponse:
        return FileResponse(CONSOLE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> FileResponse:
        return FileResponse(CONSOLE / "docs.html")
