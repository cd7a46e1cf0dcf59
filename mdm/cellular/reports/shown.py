"""What the API of usage reports shows: by control number, and beside no person (R-26). Shapes only."""

from datetime import date, datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from mdm.cellular.models import UsageSource


class MonthOut(BaseModel):
    """A school's month. Bytes; yen without tax."""

    model_config = ConfigDict(from_attributes=True)

    month: str = Field(examples=["2026-11"], description="The billing cycle that begins in it.")
    school_code: str | None = Field(description="Null: lines that were in no tablet.")
    school_name: str | None
    lines: int
    used_lines: int
    bytes_total: int
    late_bytes: int = Field(description="Came in after a cycle was closed, and is not in the total.")
    allowance_bytes: int
    billed_lines: int
    unpriced_lines: int = Field(description="With neither a bill nor a price: they cost nothing here.")
    billed_yen: Decimal = Field(examples=["980.00"])
    plan_yen: Decimal = Field(description="Of lines without a bill, by their plans' terms.", examples=["980.00"])
    overage_yen: Decimal = Field(description="Of lines without a bill, outside pools.", examples=["980.00"])
    extra_yen: Decimal = Field(description="What was bought on top for pools, shared out by use.", examples=["980.00"])
    total_yen: Decimal = Field(examples=["980.00"])


class TopOut(BaseModel):
    """One of the lines that used most."""

    model_config = ConfigDict(from_attributes=True)

    sim_id: int
    control_number: str | None
    device_id: int | None
    school_code: str | None
    account: str
    plan: str | None
    bytes_total: int
    bytes_before: int = Field(description="In as many days before.")
    days: int = Field(description="Days on which it used anything.")


class IdleOut(BaseModel):
    """A line that is active and not used."""

    model_config = ConfigDict(from_attributes=True)

    sim_id: int
    control_number: str | None
    device_id: int | None
    device_state: str | None
    school_code: str | None
    account: str
    plan: str | None
    price_yen: Decimal | None = Field(description="What its plan costs in a cycle.", examples=["980.00"])
    last_used_on: date | None
    last_online_at: datetime | None


class DayOut(BaseModel):
    """One day as it is shown."""

    model_config = ConfigDict(from_attributes=True)

    day: date
    bytes_total: int
    bytes_roaming: int | None
    source: UsageSource
    utc_offset: int = Field(description="540 is a day in Japan, 0 one from 09:00 to 09:00.")
    revision: int


class CycleOut(BaseModel):
    """One billing cycle."""

    model_config = ConfigDict(from_attributes=True)

    cycle_start: date
    cycle_end: date = Field(description="The first day that is no longer in it.")
    source: UsageSource | None
    bytes_total: int
    billed_yen: Decimal | None = Field(examples=["980.00"])
    closed_at: datetime | None
    late_bytes: int


class UsageOut(BaseModel):
    """What one line used."""

    model_config = ConfigDict(from_attributes=True)

    sim_id: int
    control_number: str | None
    account: str
    plan: str | None
    pool: str | None
    days: list[DayOut] = Field(description="Newest first.")
    cycles: list[CycleOut] = Field(description="Newest first.")


class PoolUsageOut(BaseModel):
    """What a pool used so far in its cycle, and may. Bytes."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    account: str
    name: str
    cycle_start: date
    sims: int
    used_bytes: int
    allowance_bytes: int | None = Field(description="Null: without limit.")
    p50: int | None = Field(description="Forecast for the end of the cycle.")
    p90: int | None
