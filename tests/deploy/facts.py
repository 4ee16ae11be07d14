"""What the program says of itself, for the files that run it: variables, probes, the time that it takes to stop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from app.api import health
from app.settings import Settings
from app.supervisor import GIVE_UP_AFTER
from tests.support.root import ROOT
from tests.support.variables import LEAST, Asked

#: Seconds within which every process is down after SIGTERM, whole.
DOWN_WITHIN = int(GIVE_UP_AFTER) + 1

#: Of a file of variables: `NAME=value`.
_LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def known() -> frozenset[str]:
    """Every variable that the settings ask for, or that docs/settings.md names as a whole."""
    asked = Asked(LEAST)
    Settings.from_env(asked)
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    return frozenset(asked.names | {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row)})


def probes() -> frozenset[str]:
    """The paths of web that ask for no token."""
    app = Flask("probes", static_folder=None)
    app.register_blueprint(health.blueprint)
    return frozenset(rule.rule for rule in app.url_map.iter_rules())


def variables(path: Path) -> dict[str, str]:
    """What a file of variables sets."""
    return dict(_LINE.findall(path.read_text()))


def accepted(environ: Mapping[str, str], directory: Path) -> Settings:
    """The settings that an environment comes to, its paths being files below `directory`.

    Raises:
        SettingsError: when it cannot be used.
    """
    made = dict(environ)
    for name in (each for each in environ if each.endswith("_PATH")):
        path = directory / Path(environ[name]).name
        path.touch()
        made[name] = str(path)
    return Settings.from_env(made)
