"""`tabane factor`: one's own second factors. Shows secrets once, on standard output, and keeps none."""

from typing import Annotated

import typer

from mdm.cli.client import connected, fail, replace_kept, show_json
from mdm.cli.login import read_code

app = typer.Typer(no_args_is_help=True, help="One's own second factors.")
_PATH = "/api/v1/session/factors"


@app.command("list")
def list_(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what the own account has set up."""
    with connected() as api:
        found = api.get(_PATH)
    if as_json:
        show_json(found)
        return
    needed = "needed for this role" if found["required"] else "not needed for this role"
    print(f"second factor: {needed}")
    print(f"app with codes: {'yes' if found['totp'] else 'no'}")
    for key in found["keys"]:
        print(f"security key {key['label']}: since {key['created_at']}, last used {key['used_at'] or 'never'}")
    print(f"recovery codes left: {found['recovery_codes_left']}")


@app.command()
def totp() -> None:
    """Set up an app that shows a new code each 30 seconds: prints its secret, then asks for the first code."""
    with connected() as api:
        shown = api.post(f"{_PATH}/totp")
        print(f"Put this into the app (it is shown this once): {shown['secret']}")
        print(shown["uri"], flush=True)
        answer = api.post(f"{_PATH}/totp/confirm", {"code": read_code("The app's code")})
    replace_kept(answer["token"])
    print("The app is set up; from now on signing in asks for its code.")
    _show_codes(answer["recovery_codes"])


@app.command("recovery-codes")
def recovery_codes() -> None:
    """Make ten new recovery codes; the former ones are void."""
    with connected() as api:
        _show_codes(api.post(f"{_PATH}/recovery-codes")["recovery_codes"])


@app.command()
def remove(what: Annotated[str, typer.Argument(help="`totp`, or the label of a security key.")]) -> None:
    """Forget the app or a security key; where the role needs a second factor one must remain."""
    with connected() as api:
        if what == "totp":
            api.delete(f"{_PATH}/totp")
        else:
            keys = [each["key"] for each in api.get(_PATH)["keys"] if each["label"] == what]
            api.delete(f"{_PATH}/keys/{keys[0]}") if len(keys) == 1 else fail(f"there is no one key called {what}")
    print(f"{what} is forgotten.")


def _show_codes(codes: list[str] | None) -> None:
    if codes:
        print("Recovery codes, each good once, shown this once; keep them on paper:")
        for code in codes:
            print(f"  {code}")
