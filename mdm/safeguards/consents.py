"""How a second person's signature comes in through the operator API. Carries it and verifies nothing."""

from pydantic import BaseModel, ConfigDict, Field

from mdm.safeguards.approvals import Consent
from mdm.safeguards.signing import Signature


class SignedWord(BaseModel):
    """A second person's signature under a wish. How to make it: docs/safeguards.md."""

    model_config = ConfigDict(extra="forbid")

    key: int = Field(description="The id of one's own key; it must be pinned.")
    signature: str = Field(max_length=2048, description="base64url.")
    client_data: str = Field(default="", max_length=8192, description="A security key's clientDataJSON, base64url.")
    authenticator_data: str = Field(default="", max_length=2048, description="Its authenticatorData, base64url.")

    def consent(self) -> Consent:
        """Return it as the rules take it."""
        return Consent(self.key, Signature(self.signature, self.client_data, self.authenticator_data))


class SignedConsent(SignedWord):
    """A second person's signature under a request for approval. How to make it: docs/safeguards.md."""

    urgent: bool = Field(default=False, description="Without the waiting time; part of what is signed.")

    def consent(self) -> Consent:
        """Return it as the rules take it."""
        given = super().consent()
        return Consent(given.key_id, given.signature, urgent=self.urgent)
