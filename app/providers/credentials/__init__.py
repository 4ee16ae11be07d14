"""Who we are to a registry where that is not in the settings themselves: clouds, Docker's configuration, helpers."""

from __future__ import annotations

from app.providers.credentials.choice import account, issuer
from app.providers.credentials.issuer import Granted, Issuer
from app.providers.credentials.renewal import Renewal, Standing
from app.providers.credentials.shared_tokens import SharedTokens

__all__ = ["Granted", "Issuer", "Renewal", "SharedTokens", "Standing", "account", "issuer"]
