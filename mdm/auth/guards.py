"""Which actions open which route of an app, and the refusal to start with a route that names none: default deny."""

from collections.abc import Collection
from typing import Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from mdm.auth.access import Guard
from mdm.auth.rights import Action

ANY_METHOD: Final = "*"
"""Stands for the methods of what has none of its own, such as a mounted folder of files."""


class UnguardedRoute(RuntimeError):
    """A route lets anybody in who finds it."""


def actions_of_routes(app: FastAPI) -> dict[tuple[str, str], tuple[Action, ...]]:
    """Return, by method and path, the actions that open each route as its `may(...)` names them; none without one."""
    found: dict[tuple[str, str], tuple[Action, ...]] = {}
    for context in iter_route_contexts(app.routes):
        dependant = getattr(context, "dependant", None)
        actions = () if dependant is None else _actions(dependant)
        # HEAD and OPTIONS say nothing that GET does not.
        methods = sorted((context.methods or {ANY_METHOD}) - {"HEAD", "OPTIONS"})
        found |= {(method, context.path or ""): actions for method in methods}
    return found


def _actions(dependant: Dependant) -> tuple[Action, ...]:
    if isinstance(dependant.call, Guard):
        return dependant.call.actions
    return next((found for each in dependant.dependencies if (found := _actions(each))), ())


def refuse_unguarded(app: FastAPI, open_routes: Collection[tuple[str, str]]) -> None:
    """Raise `UnguardedRoute` for routes that name no action and are not among the few that are open to strangers."""
    bare = sorted(
        route for route, actions in actions_of_routes(app).items() if not actions and route not in open_routes
    )
    if bare:
        routes = ", ".join(f"{method} {path}" for method, path in bare)
        raise UnguardedRoute(f"no right of the table guards {routes}: give each a Depends(may(Action.…))")
