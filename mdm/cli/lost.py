"""`tabane lost`: what is done about a lost tablet at once and alone, through the operator API."""

import typer

from mdm.cli.command import Footnote, Json, Message, Phone, Serials, ask

app = typer.Typer(no_args_is_help=True, help="Lost mode.")


@app.command()
def on(
    serial: Serials,
    *,
    message: Message = None,
    phone: Phone = None,
    footnote: Footnote = None,
    as_json: Json = False,
) -> None:
    """Lock lost tablets: lost mode where they are supervised, else the lock screen; says what that protects."""
    arguments = {"message": message, "phone_number": phone, "footnote": footnote}
    ask("lock", serial, arguments=arguments, as_json=as_json)


@app.command()
def off(serial: Serials, *, as_json: Json = False) -> None:
    """Turn lost mode off again."""
    ask("lost_mode_off", serial, arguments={}, as_json=as_json)


@app.command()
def locate(serial: Serials, *, as_json: Json = False) -> None:
    """Ask tablets in lost mode where they are; `tabane command show` has the answer."""
    ask("locate", serial, arguments={}, as_json=as_json)


@app.command()
def sound(serial: Serials, *, as_json: Json = False) -> None:
    """Let tablets in lost mode play a sound."""
    ask("play_sound", serial, arguments={}, as_json=as_json)
