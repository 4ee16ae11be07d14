"""Failover: a secondary's registry becomes the primary (`promotion`), and the former primary comes back as a secondary
without losing what it alone holds (`demotion`). Both are planned first, as values, and carried out after that.
"""

from __future__ import annotations
