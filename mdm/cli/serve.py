"""`tabane web | door | worker | sender | beat | migrate | roles`, one process each: for containers and `tabane up`."""

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Host = Annotated[str, typer.Option(help="Address to listen on.")]


@app.command()
def web(host: Host = "127.0.0.1", port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001) -> None:
    """Serve operators: the API."""
    _serve("mdm.app:operator_process", host=host, port=port, workers=1)


@app.command()
def door(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to serve with.")] = 1,
) -> None:
    """Serve tablets: enrolment, check-in and commands."""
    _serve("mdm.app:device_process", host=host, port=port, workers=workers)


@app.command()
def worker(
    queues: Annotated[list[str], typer.Argument(help="Queues to work on: urgent, push, sync, sweep, carriers.")],
) -> None:
    """Work on hints from the broker."""
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"  # read by Celery when it is imported: soft shutdown (operations.md §0.6)
    from workers.app import app as celery  # noqa: PLC0415 - after the line above

    _configure_log()
    # Nothing waits in a worker's memory here (no ETA, no countdown): an idle one may go at once.
    celery.conf.worker_enable_soft_shutdown_on_idle = False
    celery.worker_main(
        [
            "worker",
            f"--queues={','.join(queues)}",
            f"--hostname={'-'.join(queues)}@%h",
            "--concurrency=2",
            "--pool=threads",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=WARNING",
        ]
    )


@app.command()
def sender() -> None:
    """Let what two persons have signed leave: the only process that can. Run it with a database role of its own."""
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    from workers.sender import app as celery  # noqa: PLC0415 - after the line above

    _configure_log()
    celery.conf.worker_enable_soft_shutdown_on_idle = False
    options = ["--pool=solo", "--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    celery.worker_main(["worker", "--hostname=sender@%h", *options])


@app.command()
def beat() -> None:
    """Ring the regular hints. One process; a second one is harmless."""
    from workers.app import app as celery  # noqa: PLC0415 - only this command needs it

    _configure_log()
    # In memory: what is due is read from the rows, so the schedule need not survive a restart.
    celery.start(["beat", "--scheduler=celery.beat:Scheduler", "--pidfile=", "--loglevel=WARNING"])


@app.command()
def migrate(
    *,
    with_roles: Annotated[
        bool, typer.Option("--roles", help="Give each process's role its rights too (`tabane roles`).")
    ] = False,
) -> None:
    """Bring the database to this version's schema, as its owner; refuses a newer one."""
    from mdm import db, roles  # noqa: PLC0415 - only this command needs them
    from mdm.settings import get_settings  # noqa: PLC0415

    settings = get_settings()
    db.migrate(settings.database_url)
    if with_roles:
        roles.apply(settings.database_url, settings.role_passwords)
    typer.echo("the database has this version's schema")


@app.command("roles")
def roles_(
    out: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Write the SQL that makes a role of the database for each process; the database's owner runs it, as psql does."""
    from mdm import roles  # noqa: PLC0415 - only this command needs it
    from mdm.settings import get_settings  # noqa: PLC0415

    with open(out, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(roles.sql(get_settings().role_passwords))
    typer.echo(f"{out}: run it as the database's owner, now and after each migration")


def _configure_log() -> None:
    from mdm import log  # noqa: PLC0415 - only the serving commands need it
    from mdm.settings import get_settings  # noqa: PLC0415

    log.configure(as_json=get_settings().log_json)


def _serve(target: str, *, host: str, port: int, workers: int) -> None:
    import uvicorn  # noqa: PLC0415 - only the serving commands need it

    _configure_log()
    uvicorn.run(
        target,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,  # addresses carry tickets
        server_header=False,
        proxy_headers=False,  # the door judges its peer itself: only named proxies may hand over a certificate
        timeout_graceful_shutdown=8,
        timeout_keep_alive=75,
        backlog=4096,
    )
