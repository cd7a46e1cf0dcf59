"""The iPads' ways in: the SCEP server (RFC 8894) and the download of an enrolment profile. Mounted on the device app.

Refusals are SCEP's own or a bare 400 or 404; nothing here ever answers 401.
"""

from http import HTTPStatus
from typing import Annotated

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Depends, Query, Request, Response

from enrollment import ca, tickets
from enrollment.apple import invitation, scep
from enrollment.apple.admission import admit, on_record
from enrollment.ca import Admission, Signing
from mdm.db import SessionDep, transaction
from mdm.errors import Malformed
from mdm.platform import Platform
from mdm.settings import get_settings

router = APIRouter()

_MAX_REQUEST = 64 * 1024
"""A PKIOperation with an RSA-4096 key and its certificate is below 8 KB."""
_MESSAGE_TYPE = "application/x-pki-message"


async def _body(request: Request) -> bytes:
    return await request.body()


@router.get("/scep")
def answer_get(operation: Annotated[str, Query()] = "", message: Annotated[str, Query()] = "") -> Response:
    """Answer GetCACaps, GetCACert, and PKIOperation in base64; otherwise `message` names a CA, and we have one."""
    match operation:
        case "GetCACaps":
            return Response("".join(f"{name}\n" for name in scep.CAPABILITIES), media_type="text/plain")
        case "GetCACert":
            # One certificate and no RA: clients compare this content type as a whole, so it bears no charset.
            return Response(
                _authority().certificate.public_bytes(Encoding.DER), media_type="application/x-x509-ca-cert"
            )
        case "PKIOperation":
            return _operate(scep.decode_query(message))
        case _:
            raise Malformed("There is no such SCEP operation.")


@router.post("/scep", max_body_size=_MAX_REQUEST)
def answer_post(body: Annotated[bytes, Depends(_body)], operation: Annotated[str, Query()] = "") -> Response:
    """Answer PKIOperation."""
    if operation != "PKIOperation":
        raise Malformed("There is no such SCEP operation.")
    return _operate(body)


@router.get(f"{invitation.DOOR}/{{secret}}")
def download_profile(secret: str, session: SessionDep) -> Response:
    """Return the enrolment profile of a live ticket, 404 for any other. It spends nothing: the certificate does."""
    admission = tickets.look_up(session, Platform.APPLE, secret)
    if not isinstance(admission, Admission):
        on_record(session, admission)
        return Response(status_code=HTTPStatus.NOT_FOUND)
    return Response(
        invitation.body_of(session, admission, secret),
        media_type=invitation.MEDIA_TYPE,
        headers={"Cache-Control": "no-store"},
    )


def _authority() -> Signing:
    with transaction() as session:
        return ca.signing(session)


def _operate(data: bytes) -> Response:
    """Answer one PKIOperation: 400 for what is no message, else a CertRep, which is 200 also when it refuses."""
    if len(data) > _MAX_REQUEST:
        raise Malformed("The message is too large.")
    message = scep.parse(data)
    authority = _authority()
    outcome = _outcome(message, authority)
    # Signing and encrypting take milliseconds: after the commit, so that nobody waits for a lock meanwhile.
    if isinstance(outcome, scep.FailInfo):
        reply = scep.refuse(message, outcome, certificate=authority.certificate, key=authority.key)
    else:
        request, issued = outcome
        reply = scep.succeed(message, request, issued, certificate=authority.certificate, key=authority.key)
    return Response(reply, status_code=HTTPStatus.OK, media_type=_MESSAGE_TYPE)


def _outcome(message: scep.Message, authority: Signing) -> tuple[scep.Request, bytes] | scep.FailInfo:
    if not (message.type.renews or message.type is scep.MessageType.PKCS_REQ):
        return scep.FailInfo.BAD_REQUEST
    allow_des = get_settings().apple.scep_allow_des
    try:
        request = scep.open_request(message, authority.certificate, authority.key, allow_des=allow_des)
    except scep.Refused as refused:
        return refused.fail_info
    with transaction() as session:
        issued = admit(session, message, request)
    return issued if isinstance(issued, scep.FailInfo) else (request, issued)
