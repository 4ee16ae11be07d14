"""Numbered, reversible schema migrations, applied by `geo migrate` (see app/migrate.py)."""
