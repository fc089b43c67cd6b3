# The site. What compiles mysqlclient stays in the first stage.
FROM python:3.13-slim AS builder
# python3-dev is for a base image whose Python is Debian's own.
RUN apt-get update && apt-get install --yes --no-install-recommends \
      default-libmysqlclient-dev gcc libc6-dev pkg-config python3-dev
RUN python -m venv --without-pip /venv
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /venv/bin/python install --disable-pip-version-check --require-hashes -r requirements.txt

FROM python:3.13-slim
RUN apt-get update && apt-get install --yes --no-install-recommends libmariadb3 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent site \
 && install --directory --owner=site --mode=0700 /var/site
COPY --from=builder /venv /venv
COPY . /site
WORKDIR /site
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VAR_DIR=/var/site ENV_FILE=
RUN python -m compileall -q /site /venv/lib
USER site
EXPOSE 8000
HEALTHCHECK --interval=3s --timeout=5s --retries=5 --start-period=60s CMD ["python", "docker/web/health.py"]
CMD ["gunicorn", "--config", "docker/web/gunicorn.conf.py", "config.wsgi"]
