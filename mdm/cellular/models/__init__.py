"""The tables of SIMs and data usage: inventory, usage by time, files that came in, what is watched, what is asked.

Numbers of lines (ICCID, IMSI, MSISDN, EID) stand here and nowhere else: not in logs, errors, metrics or the trail.
"""

from mdm.cellular.models.actions import LIVE_ACTIONS, ActionKind, ActionState, PollCursor, SimAction
from mdm.cellular.models.imports import BatchState, ImportBatch, ImportKind, ImportRow
from mdm.cellular.models.inventory import (
    BindingSource,
    CarrierAccount,
    CarrierKind,
    Sim,
    SimBinding,
    SimObservation,
    SimStatus,
)
from mdm.cellular.models.plans import Overage, Plan, PlanPool, PlanVersion, PoolExtra, PoolMembership
from mdm.cellular.models.usage import (
    UsageAdjustment,
    UsageCycle,
    UsageDaily,
    UsageHourly,
    UsageRaw,
    UsageRevision,
    UsageSnapshot,
    UsageSource,
)
from mdm.cellular.models.watch import (
    FindingState,
    ForecastSnapshot,
    SimFinding,
    SimRound,
    ThresholdEvent,
    ThresholdRule,
    Watched,
)

__all__ = [
    "LIVE_ACTIONS",
    "ActionKind",
    "ActionState",
    "BatchState",
    "BindingSource",
    "CarrierAccount",
    "CarrierKind",
    "FindingState",
    "ForecastSnapshot",
    "ImportBatch",
    "ImportKind",
    "ImportRow",
    "Overage",
    "Plan",
    "PlanPool",
    "PlanVersion",
    "PollCursor",
    "PoolExtra",
    "PoolMembership",
    "Sim",
    "SimAction",
    "SimBinding",
    "SimFinding",
    "SimObservation",
    "SimRound",
    "SimStatus",
    "ThresholdEvent",
    "ThresholdRule",
    "UsageAdjustment",
    "UsageCycle",
    "UsageDaily",
    "UsageHourly",
    "UsageRaw",
    "UsageRevision",
    "UsageSnapshot",
    "UsageSource",
    "Watched",
]
