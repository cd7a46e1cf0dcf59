# One image, several commands: web, door, worker, sender, beat, migrate. Two stages; does not run as root, may run read-only.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# The lock names versions and hashes, no registry: the builder's own pip configuration decides where they come from.
RUN python -m venv /opt/tabane \
 && /opt/tabane/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY alembic alembic
COPY docs docs
COPY mdm mdm
COPY enrollment enrollment
COPY profiles profiles
COPY workers workers
COPY simulator simulator
# The lock also holds the tools of development, hatchling among them; they leave again once the package is in.
RUN /opt/tabane/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/tabane/bin/pip uninstall --yes editables hatchling hypothesis import-linter mypy pytest pytest-randomly \
    pytest-timeout pytest-xdist ruff types-pyyaml

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 tabane \
 && useradd --system --uid 10001 --gid tabane --home-dir /var/lib/tabane --create-home tabane \
 && install -d -o 10001 -g 10001 -m 700 /var/lib/tabane/audit
COPY --from=build /opt/tabane /opt/tabane
ENV PATH=/opt/tabane/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/tabane
EXPOSE 8000 8001
# `docker run IMAGE web`, `... door`, `... worker urgent`, `... sender`, `... beat`, `... migrate`.
ENTRYPOINT ["tabane"]
CMD ["web"]
