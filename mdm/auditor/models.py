"""The table of what the auditor found. Rows are only added; the database refuses anything else."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Column, DateTime, String, Uuid, func
from sqlmodel import Field, SQLModel


class CommandFinding(SQLModel, table=True):
    """One thing that is wrong with one command's having left; found and told once."""

    __tablename__ = "command_finding"

    command_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    """No foreign key: it outlives the command."""
    fault: str = Field(sa_column=Column(String(24), primary_key=True))
    found_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
