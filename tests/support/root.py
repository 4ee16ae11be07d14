"""Where the checkout is: commands are run there, and its files are read from there."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
