"""The ledger of tablets, their enrolment, their reports and their wake-ups."""
