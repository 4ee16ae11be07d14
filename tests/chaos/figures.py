"""What a run found out, told to whoever watches it."""

from __future__ import annotations

import sys


def tell(what: str, **figures: object) -> None:
    """Print a line: `what`, and each figure by its name."""
    told = ", ".join(f"{name.replace('_', ' ')} {_short(figure)}" for name, figure in figures.items())
    sys.stdout.write(f"\n{what}: {told}\n" if told else f"\n{what}\n")


def _short(figure: object) -> str:
    return f"{figure:.1f}" if isinstance(figure, float) else str(figure)
