"""Verification: proof, from the outside, that a secondary holds what was replicated to it."""
