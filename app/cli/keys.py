"""`geo keygen`, `geo token` and `geo registry-config`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import click

from app import keygen as keys
from app import registry_config as config
from app.cli.common import fail, plainly, print_json
from app.cli.names import complete_repository
from app.notifications import WEBHOOK_PATH
from app.registry import REPOSITORY_PATH, InvalidKey, KeyToken, Scope, SigningKey, is_repository
from app.settings import AuthKind, Settings


@click.command(short_help="Make the key pair and the notification secret.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path("keys"))
@click.option("--issuer", default="geo-registry", show_default=True, help="Written into the certificate.")
@click.option(
    "--algorithm", type=click.Choice(["rsa", "ec"]), default="rsa", show_default=True, help="RSA or EC (P-256) key."
)
@click.option("--overwrite", is_flag=True, help="Replace what is there: every registry then needs the new certificate.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: where everything is; no secret.")
def keygen(directory: Path, issuer: str, algorithm: str, overwrite: bool, as_json: bool) -> None:
    """Make the key pair that signs registry tokens, and the notification secret, in DIRECTORY (keys).

    \b
    Examples:
      geo keygen
      geo keygen /etc/geo --algorithm ec

    \b
    With --json:
      {"key": PATH, "certificate": PATH, "jwks": PATH, "notification_secret": PATH, "not_after": TIME}

    Exit status: 0 made; 1 something is there already, or it cannot be written; 2 wrong usage.
    """
    try:
        made = keys.generate(directory, issuer=issuer, algorithm=cast("keys.Algorithm", algorithm), overwrite=overwrite)
    except keys.KeygenError as error:
        fail(str(error))
    if as_json:
        paths = {"key": made.key_path, "certificate": made.certificate_path, "jwks": made.jwks_path}
        print_json({**paths, "notification_secret": made.notification_secret_path, "not_after": made.not_after})
        return
    click.echo(f"{made.key_path}  private key: keep it here, and nowhere else")
    click.echo(f"{made.certificate_path}  rootcertbundle of both registries, good until {made.not_after:%Y-%m-%d}")
    click.echo(f"{made.jwks_path}  the same for registries that take `jwks`")
    click.echo(f"{made.notification_secret_path}  what the primary sends in its notifications")
    click.echo("\nIn the environment of geo-registry:\n")
    click.echo(f"  GEO_REGISTRY_KEY_PATH={made.key_path.resolve()}")
    click.echo(f"  GEO_REGISTRY_CERTIFICATE_PATH={made.certificate_path.resolve()}")
    click.echo(f"  GEO_REGISTRY_ISSUER={issuer}")
    click.echo(f"  GEO_NOTIFICATION_SECRET={made.notification_secret}")
    click.echo("\nThe registries' own configuration: geo registry-config primary, geo registry-config secondary")


@click.command(short_help="Mint a registry token, to try requests by hand.")
@click.argument("repository", shell_complete=complete_repository)
@click.option(
    "--action",
    "-a",
    "actions",
    multiple=True,
    type=click.Choice(["pull", "push", "delete"]),
    help="May be given several times; pull unless given.",
)
@click.option(
    "--site",
    "side",
    metavar="NAME",
    default="primary",
    show_default=True,
    help="Which registry the token is for: primary, secondary, or a site's name.",
)
@click.option("--header", is_flag=True, help="Print the whole header, for curl -H.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: the token, and what it is good for.")
@plainly
def token(repository: str, actions: tuple[str, ...], side: str, header: bool, as_json: bool) -> None:
    """Mint a token for REPOSITORY as replication does, to try requests by hand. Good for five minutes.

    \b
    Examples:
      curl -H "$(geo token team/app --header)" https://primary.example.com/v2/team/app/tags/list
      geo token team/app --site secondary -a pull -a push

    \b
    With --json:
      {"repository": PATH, "actions": [ACTION, …], "registry": ADDRESS, "token": TOKEN, "header": TEXT}

    Exit status: 0; 1 that registry takes no tokens of ours; 2 wrong usage.
    """
    if not is_repository(repository):
        raise click.UsageError(f"{repository!r} is not {REPOSITORY_PATH}")
    settings = Settings.from_env(os.environ)
    registry = settings.primary if side == "primary" else _of_site(settings, side).secondary
    if registry is None or registry.auth is not AuthKind.TOKEN or registry.key_path is None:
        variable = "GEO_PRIMARY_REGISTRY_AUTH" if side == "primary" else "GEO_SECONDARY_REGISTRY_AUTH"
        fail(f"the {side} registry does not use tokens of ours ({variable})")
    wanted = actions or ("pull",)
    try:
        key = SigningKey.load(registry.key_path, registry.certificate_path)
        minted = KeyToken(key, registry.issuer, registry.service).header(Scope(repository, wanted))
    except (InvalidKey, ValueError) as error:
        fail(str(error), 2)
    plain, whole = minted.removeprefix("Bearer "), f"Authorization: {minted}"
    if as_json:
        about = {"repository": repository, "actions": wanted, "registry": registry.url}
        print_json({**about, "token": plain, "header": whole})
        return
    click.echo(whole if header else plain)


@click.command("registry-config", short_help="Print what to add to a registry's configuration.")
@click.argument("role", type=click.Choice(["primary", "secondary"]))
@click.option(
    "--webhook", metavar="URL", help="Where the registry reaches geo-registry, such as https://geo.example.com"
)
@click.option("--realm", metavar="URL", help="The token server that the registry's other clients use.")
@click.option("--certificate-path", metavar="PATH", help="Where the certificate is on the registry's machine.")
@click.option("--site", metavar="NAME", help="Which secondary, if there are several.")
@click.option("--gitlab", is_flag=True, help="Lines for GitLab's gitlab.rb instead of Distribution's YAML.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: the lines as a text, and for what.")
@plainly
def registry_config(
    role: str,
    webhook: str | None,
    realm: str | None,
    certificate_path: str | None,
    site: str | None,
    gitlab: bool,
    as_json: bool,
) -> None:
    """Print what to add to a registry's own configuration.

    For the primary its notifications, for the secondary permission to delete, for both the trust in our tokens.

    \b
    Examples:
      geo registry-config primary --webhook https://geo.example.com
      geo registry-config secondary --gitlab

    \b
    With --json:
      {"role": ROLE, "format": "distribution" or "gitlab", "config": TEXT}

    Exit status: 0; 2 wrong usage.
    """
    settings = Settings.from_env(os.environ)
    chosen = cast("config.Role", role)
    url = f"{webhook.rstrip('/')}{WEBHOOK_PATH}" if webhook else None
    if role == "primary" and url is None:
        raise click.UsageError("say where the registry reaches geo-registry: --webhook https://geo.example.com")
    secret = settings.notification_secrets[0].value if settings.notification_secrets else None
    registry = settings.primary if role == "primary" else _of_site(settings, site).secondary or settings.primary
    try:
        if gitlab:
            text = config.gitlab_rb(chosen, webhook_url=url, secret=secret)
        else:
            text = config.distribution_yaml(
                chosen,
                webhook_url=url,
                secret=secret,
                realm=realm,
                service=registry.service,
                issuer=registry.issuer,
                certificate_path=certificate_path,
            )
    except config.InvalidRegistryConfig as error:
        fail(str(error), 2)
    if as_json:
        print_json({"role": role, "format": "gitlab" if gitlab else "distribution", "config": text})
        return
    click.echo(text, nl=not text.endswith("\n"))


def _of_site(settings: Settings, name: str | None) -> Settings:
    """The settings of the site of this name; the only one's for `secondary`, or without a name."""
    found = settings.at(name) if name is not None else None
    if found is not None:
        return found
    known = ", ".join(each.site_name for each in settings.every)
    if name not in {None, "secondary"}:
        fail(f"there is no site {name} in GEO_SITE_NAME; there are: {known}", 2)
    if settings.further:
        fail(f"say which site with --site; there are: {known}", 2)
    return settings
