"""The operator API of policies. It reads and shows; the rules are in `policies` and `plans`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from profiles import exception_endpoints, explanations, plans, policies
from profiles.lint import Doubt, doubts
from profiles.policy import PolicyDocument, read_all
from profiles.rollouts import endpoints as rollout_endpoints
from profiles.rollouts import ring_endpoints
from profiles.rollouts.endpoints import Overriding

router = APIRouter(prefix="/api/v1", tags=["policies"])
router.include_router(exception_endpoints.router)
router.include_router(rollout_endpoints.router)
router.include_router(ring_endpoints.router)

_EXAMPLE = {
    "version": 1,
    "name": "district",
    "layer": "fleet",
    "usb": {"external_storage": "deny"},
    "web_filter": {"adult_filter": True, "deny_list": ["social.example.com"]},
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Documents(_Body):
    """Policy documents, as a policy file holds them (version 1 of the format: the schema `PolicyDocument`)."""

    documents: list[dict[str, Any]] = Field(min_length=1, max_length=500, examples=[[_EXAMPLE]])

    def checked(self) -> list[PolicyDocument]:
        """The documents after the check; raises Invalid with pointers into this body."""
        return read_all(self.documents, at="/documents")


class Apply(Documents, Overriding):
    """Documents to store, and what a plan announced."""

    plan: str | None = Field(
        default=None, max_length=64, description="The hash of the plan that was agreed to; 409 if it would differ now."
    )
    allow_delete: int | None = Field(
        default=None, ge=0, description="How many tablets may lose something; exactly what the plan counts."
    )

    expected_revisions: dict[str, int] = Field(
        default={}, description="Refuse (409) if a policy would get another revision.", examples=[{"district": 2}]
    )


class Checked(BaseModel):
    """A document that has no errors, with what looks odd about it."""

    name: str = Field(examples=["district"])
    layer: str = Field(examples=["class=0101/6/1"])
    document: PolicyDocument
    """In normal form: lists sorted, hosts in lower case."""
    warnings: list[Doubt]


@router.post("/policies/validate", operation_id="validatePolicies", summary="Check policy documents")
def validate(body: Documents, _principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))]) -> list[Checked]:
    """Check documents and return them in normal form with warnings; stores nothing and looks at no tablet."""
    return [
        Checked(name=each.name, layer=str(each.layer), document=each, warnings=doubts(each.sections()))
        for each in body.checked()
    ]


@router.post("/policies/plan", operation_id="planPolicies", summary="Say what documents would change")
def plan(
    body: Documents, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.CHANGE_POLICIES))]
) -> plans.Plan:
    """Say what applying and rolling out would change, and for how many tablets; stores nothing."""
    return plans.plan(session, principal, body.checked())


@router.post("/policies", operation_id="applyPolicies", summary="Store policy documents")
def apply(
    body: Apply, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.CHANGE_POLICIES))]
) -> list[policies.ShownPolicy]:
    """Store each document that differs as a new revision, all or none. No tablet is reached: that is a rollout."""
    return plans.apply(
        session,
        principal,
        body.checked(),
        expected=body.expected_revisions,
        plan_hash=body.plan,
        allow_delete=body.allow_delete,
        overrides=body.taken(),
    )


@router.get("/policies", operation_id="listPolicies", summary="List policies")
def list_policies(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))], window: Paging
) -> Page[policies.ShownPolicy]:
    """Return the latest revision of each policy in scope, widest layer first."""
    found = policies.overview(session, principal)
    start = int(window.after[0]) if window.after else 0
    rows = list(enumerate(found, start=1))[start : start + window.limit + 1]
    return page_of(window, rows, key=lambda row: [row[0]], show=lambda row: row[1])


@router.get("/policies/{name}", operation_id="showPolicy", summary="Show one policy")
def show(
    name: str,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))],
    revision: Annotated[int | None, Query(ge=1, description="The latest when absent.")] = None,
) -> policies.ShownPolicy:
    """Return one revision of a policy."""
    return policies.show(session, principal, name, revision)


@router.get("/policies/{name}/revisions", operation_id="listRevisions", summary="The history of a policy")
def history(
    name: str, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))]
) -> list[policies.ShownPolicy]:
    """Return every revision of a policy, newest first."""
    return policies.history(session, principal, name)


@router.get("/effective-policy", operation_id="showEffectivePolicy", summary="What one tablet should be, and why")
def effective_policy(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))],
    serial: Annotated[str, Query(max_length=32)],
) -> explanations.Explanation:
    """Return the merge of all layers that speak to a tablet, who decided each field, and what the tablet cannot do."""
    return explanations.explain(session, principal, serial)
