"""`python -m app …`: the `geo` command, uninstalled."""

from __future__ import annotations

from app.cli import main

if __name__ == "__main__":
    main(prog_name="geo")
