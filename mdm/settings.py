"""Every setting, frozen and validated at start; secrets come from files. Nothing else reads the environment."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mdm.errors import Misconfigured


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AppleSettings(_Section):
    """What the conversation with iPads needs (reference: Apple MDM, SCEP RFC 8894)."""

    push_certificate: Path | None = None
    """PEM file with the APNs MDM push certificate and its private key; its subject UID is the topic."""
    apns_url: str = "https://api.push.apple.com:443"
    apns_ca_file: Path | None = None
    """CA bundle that the APNs server's certificate must chain to; the system's when absent."""
    apns_client: Literal["h2", "apns2"] = "h2"
    sign_profiles: bool = False
    """Sign enrolment profiles with the device CA (CMS, attached)."""
    client_cert_proxies: tuple[str, ...] = ()
    """Addresses or networks (CIDR) whose RFC 9440 `Client-Cert` header is believed; everyone else's is ignored."""
    scep_allow_des: bool = False
    """Accept single DES in SCEP requests. Only for old client libraries; iPads never need it."""
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=64 * 1024)


class EnrollmentSettings(_Section):
    """Who gets in, and how long an identity lasts."""

    require_ledger: bool = True
    """Refuse tablets whose serial is not in the ledger; when off, a staging ticket adds it as stock."""
    identity_days: int = Field(default=1095, ge=30, le=3650)
    renew_at_fraction: float = Field(default=0.6, gt=0, lt=1)
    challenge_minutes: int = Field(default=60, ge=1, le=60 * 24)


class OidcSettings(_Section):
    """The identity provider that vouches for people (OpenID Connect), such as Entra ID; off without an issuer."""

    issuer: str = ""
    """Exactly as the provider names itself; of Entra ID `https://login.microsoftonline.com/TENANT/v2.0`."""
    tenant: str | None = None
    """Entra ID: the tenant (`tid`) that every sign-in must name; people are then known by `oid`."""
    client_id: str = ""
    client_secret_file: Path | None = None
    """None for a public client, which has nothing but PKCE."""
    ca_file: Path | None = None
    """CA bundle that the provider's certificate must chain to; the system's when absent."""
    role_claims: tuple[str, ...] = ("roles",)
    """Where the provider says what somebody may; values that `roles` does not name mean nothing."""
    roles: dict[str, str] = {}
    """Which of its values is which role here: `{"Tabane.Support": "support"}`."""
    school_prefix: str = "school:"
    """A value that begins so names a school in scope: `school:E001`, or `school:*` for all."""
    asks_for_two: bool = False
    """The provider asks everybody for a second factor, even where its `amr` does not say so."""

    @field_validator("issuer")
    @classmethod
    def _secure(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise ValueError("the issuer must be an https:// address")
        return value


class ThrottleSettings(_Section):
    """The limits that hold until somebody sets others at run time (`mdm.limits`); 0 means no limit.

    Wake-ups per second and burst of each bucket in the chain fleet, provider, school, device.
    """

    fleet_per_s: float = Field(default=150, ge=0, allow_inf_nan=False)
    fleet_burst: int = Field(default=300, ge=1)
    provider_per_s: float = Field(default=0, ge=0, allow_inf_nan=False)
    provider_burst: int = Field(default=1000, ge=1)
    school_per_s: float = Field(default=10, ge=0, allow_inf_nan=False)
    school_burst: int = Field(default=30, ge=1)
    device_per_s: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    device_burst: int = Field(default=2, ge=1)
    urgent_per_s: float = Field(default=20, ge=0, allow_inf_nan=False)
    """The urgent lane's own reserve, beside the chain."""
    urgent_burst: int = Field(default=40, ge=1)
    school_bytes_per_s: float = Field(default=0, ge=0, allow_inf_nan=False)
    """What one school's tablets may be made to fetch."""
    school_downloads: int = Field(default=0, ge=0)
    """How many tablets of a school may fetch something big at once."""
    big_from_bytes: int = Field(default=5_000_000, ge=1)
    gate_gb: float = Field(default=20, ge=0, allow_inf_nan=False)
    """A rollout above this needs a second operator."""
    pool_gb: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The month's data pool."""


class AuditSettings(_Section):
    """Where the audit trail has its witnesses outside the database (docs/audit.md)."""

    witness_file: Path | None = None
    """Each process appends a line here after it has committed events. Without it, events cut off the end of the trail
    are noticed only against the last checkpoint."""
    signing_key_file: Path | None = None
    """PEM file with the Ed25519 private key of checkpoints; only the worker of the queue `sweep` needs it."""
    public_keys_file: Path | None = None
    """PEM file with the public keys of checkpoints, the former ones too."""
    checkpoint_file: Path | None = None
    """Checkpoints are appended here as well: on another system's disk, if there is one."""
    checkpoint_url: str | None = Field(default=None, pattern=r"^https?://")
    """Another system that each checkpoint is posted to."""


class NoticeSettings(_Section):
    """Where pages to whoever is on duty go; without any they wait and are only shown."""

    webhook_url: str = ""
    webhook_secret_file: Path | None = None
    """What signs the body (HMAC-SHA-256): any bytes; white space around them does not count."""
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password_file: Path | None = None
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.webhook_url and self.webhook_secret_file is None:
            raise ValueError("a webhook needs webhook_secret_file: what is not signed cannot be believed")
        if self.smtp_host and not (self.mail_from and self.mail_to):
            raise ValueError("mail needs mail_from and mail_to")
        return self


class UsageSettings(_Section):
    """How long what lines used is kept. Days are counted up to the end of a month: whole months go."""

    daily_months: int = Field(default=60, ge=13, le=600)
    """Whole months of daily figures, and of what corrections replaced, beside the present one."""
    hourly_days: int = Field(default=90, ge=35, le=3650)
    snapshot_days: int = Field(default=90, ge=70, le=3650)
    """Readings of counters that run through a cycle: longer than a cycle and the one before."""
    observation_days: int = Field(default=90, ge=7, le=3650)
    """What carriers and tablets said of SIMs and radios."""
    raw_days: int = Field(default=90, ge=7, le=3650)
    """What carriers handed over, as it was; afterwards only that it came is known, as long as its figures are."""
    drop_folder: Path | None = None
    """Files of usage are taken up from here: `ACCOUNT/*.csv`, and bills from `ACCOUNT/bills/*.csv`."""
    drop_still_s: int = Field(default=60, ge=0, le=86_400)
    """A file that changed within so many seconds may be half written, and is left alone."""


class CarrierSettings(_Section):
    """How carriers' interfaces are reached."""

    secrets_folder: Path | None = None
    """The folder of accounts' secrets; an account names its file in it, a JSON object of strings. Only the worker of
    the queue `carriers` reads it."""
    timeout_s: float = Field(default=15, gt=0, le=60)
    """How long one answer may take."""

    @field_validator("secrets_folder")
    @classmethod
    def _whole_path(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("must be a whole path: processes start in different folders")
        return value


class Settings(BaseSettings):
    """The whole configuration; `TABANE_APPLE__APNS_URL` sets `apple.apns_url`, and so on."""

    model_config = SettingsConfigDict(env_prefix="TABANE_", env_nested_delimiter="__", frozen=True, extra="ignore")

    database_url: str = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    role_passwords: dict[str, str] = Field(default={}, repr=False)
    """Of the database's roles, by process (`TABANE_ROLE_PASSWORDS__WEB`): for its owner, who makes the roles."""
    redis_url: str = Field(validation_alias=AliasChoices("REDIS_URL", "redis_url"))
    secret_key_file: Path
    """32 random bytes, base64, one key per line as `id:base64`; the first line seals, all lines open."""
    public_url: str = "http://127.0.0.1:8000"
    """Where tablets reach the door: goes into enrolment profiles. Real iPads insist on https."""
    operator_url: str = "http://127.0.0.1:8001"
    organization: str = "Tabane"
    session_hours: int = Field(default=9, ge=1, le=24)
    """A session ends then, however busy."""
    session_idle_minutes: int = Field(default=60, ge=1, le=24 * 60)
    """A session that nobody used for so long has ended."""
    second_factor: Literal["everyone", "required", "optional"] = "required"
    """`required` of those whose role may do something irreversible; whoever has set one up needs it in any case."""
    log_json: bool = True
    history_months: int = Field(default=13, ge=1, le=600)
    """Whole months for which ended commands and their steps are kept beside the present one; the audit trail stays."""
    apple: AppleSettings = AppleSettings()
    audit: AuditSettings = AuditSettings()
    carriers: CarrierSettings = CarrierSettings()
    enrollment: EnrollmentSettings = EnrollmentSettings()
    notices: NoticeSettings = NoticeSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    oidc: OidcSettings = OidcSettings()
    usage: UsageSettings = UsageSettings()

    @field_validator("database_url")
    @classmethod
    def _postgres_only(cls, value: str) -> str:
        if not value.startswith(("postgresql://", "postgresql+psycopg://", "postgres://")):
            raise ValueError("DATABASE_URL must be a postgresql:// address")
        return value.replace("postgresql+psycopg://", "postgresql://").replace("postgres://", "postgresql://")

    @field_validator("redis_url")
    @classmethod
    def _redis_only(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://")):
            raise ValueError("REDIS_URL must be a redis:// or rediss:// address (Valkey speaks it too)")
        return value


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read once; `Misconfigured` names the first setting that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(f"setting {name}: {first['msg']}") from None
