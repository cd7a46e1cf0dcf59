"""Object identifiers of CMS (RFC 5652, 5754, 3370, 5753, 3565) as content octets. Names only, no behaviour."""

from typing import Final

from mdm.cms.der import oid_content

DATA: Final = oid_content("1.2.840.113549.1.7.1")
SIGNED_DATA: Final = oid_content("1.2.840.113549.1.7.2")
ENVELOPED_DATA: Final = oid_content("1.2.840.113549.1.7.3")

CONTENT_TYPE: Final = oid_content("1.2.840.113549.1.9.3")
MESSAGE_DIGEST: Final = oid_content("1.2.840.113549.1.9.4")
SIGNING_TIME: Final = oid_content("1.2.840.113549.1.9.5")

SHA1: Final = oid_content("1.3.14.3.2.26")
SHA256: Final = oid_content("2.16.840.1.101.3.4.2.1")
SHA384: Final = oid_content("2.16.840.1.101.3.4.2.2")
SHA512: Final = oid_content("2.16.840.1.101.3.4.2.3")

RSA_ENCRYPTION: Final = oid_content("1.2.840.113549.1.1.1")
RSA_SHA1: Final = oid_content("1.2.840.113549.1.1.5")
RSA_SHA256: Final = oid_content("1.2.840.113549.1.1.11")
RSA_SHA384: Final = oid_content("1.2.840.113549.1.1.12")
RSA_SHA512: Final = oid_content("1.2.840.113549.1.1.13")
EC_PUBLIC_KEY: Final = oid_content("1.2.840.10045.2.1")
ECDSA_SHA1: Final = oid_content("1.2.840.10045.4.1")
ECDSA_SHA256: Final = oid_content("1.2.840.10045.4.3.2")
ECDSA_SHA384: Final = oid_content("1.2.840.10045.4.3.3")
ECDSA_SHA512: Final = oid_content("1.2.840.10045.4.3.4")

AES_128_CBC: Final = oid_content("2.16.840.1.101.3.4.1.2")
AES_256_CBC: Final = oid_content("2.16.840.1.101.3.4.1.42")
DES_EDE3_CBC: Final = oid_content("1.2.840.113549.3.7")
DES_CBC: Final = oid_content("1.3.14.3.2.7")
