"""How whoever sends a notification proves who it is, by dialect: the settings made into schemes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.notifications.authentication import (
    Closed,
    HeaderSecret,
    HubSignature,
    IdentityToken,
    Scheme,
    encoded,
)
from app.notifications.signing_keys import SigningKeys
from app.settings import Settings

#: Of the query; for those that can send nothing but an address.
PARAMETER: Final = "secret"

_HEADER_ADVICE: Final = (
    "The Authorization header does not hold the notification secret: the value of"
    " notifications.endpoints[].headers.Authorization in the registry's configuration must equal"
    " GEO_NOTIFICATION_SECRET."
)
_ADDRESS_ADVICE: Final = (
    f"The address does not hold the notification secret: it ends in ?{PARAMETER}= and GEO_NOTIFICATION_SECRET,"
    " percent-encoded."
)
_SIGNATURE_ADVICE: Final = (
    "X-Hub-Signature-256 does not fit the body: the secret of the webhook at GitHub must equal GEO_NOTIFICATION_SECRET."
)
_IDENTITY_ADVICE: Final = (
    "The bearer is no identity token of Google's for us: audience and service account of the push subscription must"
    " equal GEO_NOTIFICATION_AUDIENCE and GEO_NOTIFICATION_EMAIL."
)
_CLOSED_ADVICE: Final = (
    "Events of Artifact Registry are taken once GEO_NOTIFICATION_AUDIENCE and GEO_NOTIFICATION_EMAIL are set."
)


class Senders:
    """The scheme of each dialect. Kept while the process lives: the keys of issuers are remembered."""

    def __init__(self, settings: Settings) -> None:
        secrets = encoded(secret.value for secret in settings.notification_secrets)
        self._default: Scheme = HeaderSecret(secrets, advice=_HEADER_ADVICE)
        # Basic too: some make a header of what stands before the host of an address.
        address = HeaderSecret(secrets, parameters=(PARAMETER,), advice=_ADDRESS_ADVICE)
        identity = settings.identity
        self._schemes: Mapping[str, Scheme] = {
            # The connection of an API destination names its header as it likes.
            "ecr": HeaderSecret(secrets, names=("authorization", "x-api-key"), advice=_HEADER_ADVICE),
            "docker-hub": address,
            "quay": address,
            "ghcr": HubSignature(secrets, advice=_SIGNATURE_ADVICE),
            "gar": Closed(_CLOSED_ADVICE)
            if identity is None
            else IdentityToken(
                identity.audience, identity.emails, SigningKeys(identity.keys_url), advice=_IDENTITY_ADVICE
            ),
        }

    def of(self, dialect: str) -> Scheme:
        """The scheme of a dialect; of one that nobody speaks, the one that most do."""
        return self._schemes.get(dialect, self._default)
