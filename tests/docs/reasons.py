"""The words that the program has for what is wrong, found in its code."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import app.providers
import app.registry
import app.replication
from app.registry import answers
from tests.support.root import ROOT

#: Where references, repositories and verifications get their reasons from.
PACKAGES = (app.registry, app.providers, app.replication)

#: Keywords that carry one.
_KEYWORDS = frozenset({"reason", "failure_reason", "verification_failure_reason"})

#: Of a question about the rows that is wrong: nothing has failed.
_OTHER = frozenset({"invalid_query"})

_WORD = re.compile(r"[a-z][a-z_]+")


def reasons() -> set[str]:
    """Every reason that a failure can have."""
    found = {each.lower() for each in answers._REASONS}
    for module in _modules():
        found |= set(_of_classes(module))
        assert module.__file__ is not None
        found |= set(_of_code(ast.parse(Path(module.__file__).read_text())))
    return {each for each in found if _WORD.fullmatch(each)} - _OTHER


def headlines() -> set[str]:
    """Every headline that `geo status` and the pages have for how a site is; `…` where it says a number."""
    tree = ast.parse((ROOT / "app/replication/health.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "Health"]
    return {text for call in calls if len(call.args) > 1 and (text := _text(call.args[1])).strip("… ")}


def texts() -> set[str]:
    """Every text in the program, `…` where it says a value."""
    found = set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and (text := _text(node)):
                found.add(" ".join(text.split()))
    return found


def raised(names: Iterable[str]) -> set[str]:
    """The texts with which errors of these names are raised anywhere in the program."""
    wanted, found = set(names), set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc.func) in wanted:
                found |= {" ".join(_text(each).split()) for each in node.exc.args[:1]}
    return found - {""}


def _modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        yield package
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not each.name.startswith("app.replication.check."):
                yield import_module(each.name)


def _of_classes(module: ModuleType) -> Iterator[str]:
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if issubclass(kind, Exception) and kind.__module__ == module.__name__:
            reason = getattr(kind, "default_reason", None) or getattr(kind, "reason", None)
            if isinstance(reason, str):
                yield reason


def _of_code(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _KEYWORDS:
            yield from _words(node.value)
        elif isinstance(node, ast.Call) and _name(node.func) == "_Verdict" and len(node.args) > 1:
            yield from _words(node.args[1])
        elif isinstance(node, ast.Call) and _name(node.func) == "getattr" and len(node.args) == 3:
            if ast.unparse(node.args[1]) == "'reason'":
                yield from _words(node.args[2])
        elif isinstance(node, ast.Lambda) and isinstance(node.body, ast.Tuple) and len(node.body.elts) == 3:
            yield from _words(node.body.elts[2])
        elif isinstance(node, ast.Assign) and _name(node.targets[0]) == "RANGE_IGNORED":
            yield from _words(node.value)


def _words(node: ast.expr) -> Iterator[str]:
    """What an expression may give, as far as it stands there in so many words."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*_words(node.body), *_words(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (word for each in node.values for word in _words(each))


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
    return ""


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
