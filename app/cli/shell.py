"""`geo completion` and `geo help`: what a shell, and a person at it, want to know of the commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

#: By this variable a shell asks for completions.
VARIABLE = "_GEO_COMPLETE"

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, and names of sites and repositories on the Tab key.

    Names are read from the database that the environment names, as by any other command.

    \b
    Examples:
      source <(geo completion bash)                              # in ~/.bashrc
      source <(geo completion zsh)                               # in ~/.zshrc
      geo completion fish > ~/.config/fish/completions/geo.fish

    Exit status: 0, or 2 for another shell.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion is known for {shell}")
    click.echo(kind(context.find_root().command, {}, "geo", VARIABLE).source())


@click.command("help", short_help="Explain a command.")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def help_(context: click.Context, words: tuple[str, ...]) -> None:
    """Explain a COMMAND: what it does, its options, examples, and what its exit status means.

    \b
    Examples:
      geo help sync
      geo help sites pause

    Exit status: 0, or 2 where there is no such command.
    """
    root = context.find_root()
    command, here = root.command, root
    for word in words:
        if not isinstance(command, click.Group):
            raise click.UsageError(f"{here.command_path} has no commands of its own", here)
        name, found, _ = command.resolve_command(here, [word])
        assert found is not None
        command, here = found, click.Context(found, parent=here, info_name=name)
    click.echo(command.get_help(here))
