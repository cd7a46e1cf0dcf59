"""The people who sign in: their accounts, sign-in and tokens, on record in the audit trail."""
