"""`geo check`: everything that replication relies on, talked to for real, and what is wrong with it in words."""

from __future__ import annotations

from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, Severity
from app.replication.check.report import Report, examine

__all__ = ["Examination", "Finding", "Id", "Report", "Severity", "examine"]
