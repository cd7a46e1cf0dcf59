"""`tabane usage`: what lines use and will use, and from when on that is acted on."""

import typer

from mdm.cli import usage_forecast, usage_import, usage_reports, usage_rules

app = typer.Typer(no_args_is_help=True, help="Data usage.")
app.add_typer(usage_import.app)
app.add_typer(usage_forecast.app)
app.add_typer(usage_rules.alerts)
app.add_typer(usage_rules.app, name="rules")
app.add_typer(usage_reports.app)
