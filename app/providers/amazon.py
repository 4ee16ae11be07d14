"""EcrHost: what the host name of a registry of Amazon's says.

Sources: Amazon ECR user guide, "Making requests to Amazon ECR registries"; Amazon ECR Public user guide, the same; the
host names of amazon-ecr-credential-helper.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: Where the public registry's API is, wherever one is.
PUBLIC_REGION = "us-east-1"

#: A private registry's host: `dkr.ecr` by IPv4, `dkr-ecr` by IPv6 too; with FIPS; in partitions of their own.
PRIVATE = (
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9][a-z0-9_-]*)\.(?P<domain>"
    r"amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.com\.cn)"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov|cloud\.adc-e\.uk)"
)

#: The public registry's, of which the second is reached by IPv6 too.
PUBLIC = (r"public\.ecr\.aws", r"ecr-public\.aws\.com")


@dataclass(frozen=True, slots=True)
class EcrHost:
    """All unknown for an address of one's own."""

    account: str | None = None
    region: str | None = None
    fips: bool = False
    #: Whether it is reached by IPv6, too; then so is its API.
    dual_stack: bool = False
    public: bool = False

    @classmethod
    def of(cls, host: str) -> Self:
        """Read the host, without a port."""
        host = host.lower()
        if re.fullmatch("|".join(PUBLIC), host):
            return cls(region=PUBLIC_REGION, dual_stack=host.endswith(".aws.com"), public=True)
        found = re.fullmatch(PRIVATE, host)
        if found is None:
            return cls()
        return cls(found["account"], found["region"], found["fips"] is not None, found["domain"].startswith("on."))

    @property
    def service(self) -> str:
        """The name of its API with botocore."""
        return "ecr-public" if self.public else "ecr"

    def endpoint(self, environ: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """Options of botocore's `Config` by which the API of the same kind is asked; nothing where botocore decides.

        An address of the API that is set goes before: botocore refuses to be told both.
        """
        environ = os.environ if environ is None else environ
        named = f"AWS_ENDPOINT_URL_{self.service.upper().replace('-', '_')}"
        if environ.get("AWS_ENDPOINT_URL") or environ.get(named):
            return {}
        return {
            "use_fips_endpoint": True if self.fips else None,
            "use_dualstack_endpoint": True if self.dual_stack else None,
        }
