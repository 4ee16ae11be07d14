"""What an operator adds to a registry's own configuration, so that it tells us of pushes and lets us delete."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, TypeAlias
from urllib.parse import urlsplit

#: Which of the two registries is configured.
Role: TypeAlias = Literal["primary", "secondary"]

#: As in GitLab's guide for Geo, so that both can be told apart by nothing but their address.
ENDPOINT_NAME: Final = "geo_event"

#: Blobs say nothing that their manifest does not, and reading changes nothing.
IGNORED_MEDIA_TYPES: Final = ("application/octet-stream",)
IGNORED_ACTIONS: Final = ("pull", "mount")

#: Beyond what GitLab's registry does in the quarter of an hour after which it gives up in any case.
GITLAB_MAX_RETRIES: Final = 100

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class InvalidRegistryConfig(Exception):
    """A value that no registry could work with; the message names it. Never quotes a secret."""

    reason: ClassVar[str] = "invalid"
    temporary: ClassVar[bool] = False


def distribution_yaml(
    role: Role,
    *,
    webhook_url: str | None = None,
    secret: str | None = None,
    realm: str | None = None,
    service: str = "container_registry",
    issuer: str = "geo-registry",
    certificate_path: str | None = None,
) -> str:
    """Return the sections to merge into a CNCF Distribution `config.yml`, 2.8 and 3.x alike.

    :param webhook_url: where this project receives events, whole; the primary needs it, with `secret`.
    :param secret: the whole value of the `Authorization` header of notifications.
    :param certificate_path: where the registry finds the certificate of our key. Without it there is no `auth`
        section: the registry is open, or authenticates in another way.
    :param realm: the token server that the registry's other clients are sent to; needed with the certificate.
    :raises InvalidRegistryConfig: a value is missing or cannot be used.
    """
    sections = [_DISTRIBUTION_HEAD[_known(role)]]
    if certificate_path is not None:
        sections.append(_token_section(realm, service, issuer, certificate_path))
    if role == "primary":
        sections.append(_notifications_section(*_webhook(webhook_url, secret)))
    else:
        sections.append(_DELETE_SECTION)
    return "\n".join(sections)


def gitlab_rb(role: Role, *, webhook_url: str | None = None, secret: str | None = None) -> str:
    """Return the lines to add to `/etc/gitlab/gitlab.rb` of a Linux package installation.

    Parameters and errors as in `distribution_yaml`. GitLab configures its registry's tokens itself: its key
    is taken as it is.
    """
    if _known(role) == "secondary":
        return _GITLAB_SECONDARY
    url, authorization = _webhook(webhook_url, secret)
    return _GITLAB_PRIMARY.format(
        name=_ruby(ENDPOINT_NAME),
        hint=_https_hint(url, "    "),
        url=_ruby(url),
        max_retries=GITLAB_MAX_RETRIES,
        authorization=_ruby(authorization),
        media_types=", ".join(map(_ruby, IGNORED_MEDIA_TYPES)),
        actions=", ".join(map(_ruby, IGNORED_ACTIONS)),
    )


_DISTRIBUTION_HEAD: Final[dict[Role, str]] = {
    "primary": """\
# For config.yml of the primary registry (CNCF Distribution 2.8 or 3).
# Merge these sections into those that are there, then restart the registry: it reads them at its start only.
""",
    "secondary": """\
# For config.yml of the secondary registry (CNCF Distribution 2.8 or 3).
# Merge these sections into those that are there, then restart the registry: it reads them at its start only.
# It needs no notifications: nobody but the replication should push to it.
""",
}

_DELETE_SECTION: Final = """\
storage:
  # Without this every DELETE is answered with 405, and no deletion can be replicated.
  delete:
    enabled: true
"""

_GITLAB_PRIMARY: Final = """\
# For /etc/gitlab/gitlab.rb of the primary, on each node that runs the registry; then: gitlab-ctl reconfigure
#
# Added to the endpoints that are there. to_a, for an unset setting is an empty hash in this file, so that
# neither ||= nor += would do.
registry['notifications'] = registry['notifications'].to_a + [
  {{
    'name' => {name},
    # The final address: a redirect is followed without the body, and the event counts as delivered.
{hint}    'url' => {url},
    'timeout' => '500ms',
    # From GitLab 17.0 an event is dropped after so many tries, and after about 15 minutes in any case; what is
    # lost then is found by the next reconcile. Older versions ignore this and try for ever.
    'maxretries' => {max_retries},
    'backoff' => '1s',
    'headers' => {{ 'Authorization' => [{authorization}] }},
    # Events are sent one at a time: each pull, our own too, would keep the next push waiting.
    'ignore' => {{ 'mediatypes' => [{media_types}], 'actions' => [{actions}] }}
  }}
]

# gitlab_rails['registry_notification_secret'] need not be set for this: it is for events that GitLab itself
# receives. If it is set already, leave it, and leave GitLab's own endpoint in the list.
#
# To pull, give the replication this installation's own key and issuer (a copy of the key will do):
#   GEO_PRIMARY_REGISTRY_KEY_PATH=/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key
#   GEO_PRIMARY_REGISTRY_ISSUER=omnibus-gitlab-issuer    # or what gitlab_rails['registry_issuer'] says
"""

_GITLAB_SECONDARY: Final = """\
# For /etc/gitlab/gitlab.rb of the secondary, on each node that runs the registry or Rails; then:
# gitlab-ctl reconfigure
#
# Without this no deletion can be replicated. If registry['storage'] has a 'delete' of its own, that counts.
registry['storage_delete_enabled'] = true

# One replication at a time: GitLab Geo's own would delete what this one has copied and it has not seen yet.
gitlab_rails['geo_registry_replication_enabled'] = false

# To push, give the replication this installation's own key and issuer (a copy of the key will do):
#   GEO_SECONDARY_REGISTRY_KEY_PATH=/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key
#   GEO_SECONDARY_REGISTRY_ISSUER=omnibus-gitlab-issuer    # or what gitlab_rails['registry_issuer'] says
"""


def _token_section(realm: str | None, service: str, issuer: str, certificate_path: str) -> str:
    if realm is None:
        raise InvalidRegistryConfig("a registry that trusts tokens needs a realm: the address of its token server")
    return f"""\
auth:
  token:
    # Where clients such as docker get their tokens; if the registry has a token server, keep its address.
    # The replication signs its own tokens and never asks there.
    realm: {_yaml(_url("realm", realm))}
    # These two are compared letter by letter with what the replication is configured with.
    service: {_yaml(_text("service", service))}
    issuer: {_yaml(_text("issuer", issuer))}
    # The file may hold several certificates: add ours to those that are there.
    rootcertbundle: {_yaml(_text("certificate path", certificate_path))}
"""


def _notifications_section(url: str, authorization: str) -> str:
    return f"""\
notifications:
  endpoints:
    # One more in the list; others may stand beside it.
    - name: {ENDPOINT_NAME}
      # The final address: a redirect is followed without the body, and the event counts as delivered.
{_https_hint(url, "      ")}      url: {_yaml(url)}
      headers:
        # Distribution writes its headers to its log when it starts: keep that log to yourself.
        Authorization: [{_yaml(authorization)}]
      timeout: 500ms
      # So many failures before it waits, then one try each backoff, for as long as the registry runs.
      threshold: 5
      backoff: 1s
      # Events are sent one at a time: each pull, our own too, would keep the next push waiting. Both lists,
      # for up to 3.0 the actions count only where a media type is given too.
      ignore:
        mediatypes: [{", ".join(map(_yaml, IGNORED_MEDIA_TYPES))}]
        actions: [{", ".join(IGNORED_ACTIONS)}]
"""


def _https_hint(url: str, indent: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return f"{indent}# Its certificate must be one that the registry's machine trusts.\n"
    if parts.hostname in _LOOPBACK:
        return ""
    return f"{indent}# Use https: like this the secret below crosses the network in clear, with each event.\n"


def _webhook(url: str | None, secret: str | None) -> tuple[str, str]:
    if url is None or secret is None:
        raise InvalidRegistryConfig("a primary registry needs the webhook's URL and its secret")
    # HTTP strips a header's value, and what is not ASCII arrives as each side happens to decode it.
    if not secret or not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise InvalidRegistryConfig("the secret must be of printable ASCII, without space at its ends")
    return _url("webhook URL", url), secret


def _url(what: str, url: str) -> str:
    try:
        parts = urlsplit(_text(what, url))
        # Reading the port is what checks it.
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = None
    if not usable or parts is None or parts.fragment or not url.isascii() or " " in url:
        raise InvalidRegistryConfig(f"the {what} must be a whole http or https address")
    if parts.username is not None or parts.password is not None:
        raise InvalidRegistryConfig(f"the {what} must not carry credentials: the registry logs it")
    return url


def _text(what: str, value: str) -> str:
    if not value or not value.isprintable():
        raise InvalidRegistryConfig(f"the {what} must be printable text")
    return value


def _known(role: Role) -> Role:
    if role not in ("primary", "secondary"):
        raise InvalidRegistryConfig(f"a registry is primary or secondary, not {role!r}")
    return role


def _yaml(value: str) -> str:
    """A double-quoted scalar; of printable text only these two characters need escaping."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ruby(value: str) -> str:
    """A single-quoted string, in which Ruby interpolates nothing."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
