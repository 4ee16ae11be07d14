"""docs/logs.md says what is logged, and no more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from app.logging import JsonFormatter
from tests.support.root import ROOT

PAGE = (ROOT / "docs/logs.md").read_text()

_SEVERITIES = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}

Line = tuple[str, str, str]


def told() -> Iterator[Line]:
    """Class, severity and message of every line that the code can write; of a call of `log.log` only the messages."""
    for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _is_logger(call.func.value):
                if call.func.attr in _SEVERITIES:
                    yield module, _SEVERITIES[call.func.attr], _text(call.args[0])
                elif call.func.attr == "log":
                    assert isinstance(call.args[1], ast.IfExp)
                    yield module, "WARNING", _text(call.args[1].body)
                    yield module, "INFO", _text(call.args[1].orelse)


def _is_logger(value: ast.expr) -> bool:
    if isinstance(value, ast.Name):
        return value.id == "log"
    return isinstance(value, ast.Call) and ast.unparse(value).startswith("logging.getLogger(__name__)")


def _text(message: ast.expr) -> str:
    assert isinstance(message, ast.Constant), ast.unparse(message)
    assert isinstance(message.value, str)
    return re.sub(r"%[sdr]", "…", message.value)


def test_every_message_is_in_the_table_and_nothing_else() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([A-Z]+)` \| (.+?) \| .*\|$", PAGE, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(told())


def test_every_key_that_is_given_is_in_the_table() -> None:
    # Given the keys that the code gives with its lines
    keys: set[str] = set()
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                for each in call.keywords:
                    if each.arg == "extra" and isinstance(each.value, ast.Dict):
                        keys |= {str(key.value) for key in each.value.keys if isinstance(key, ast.Constant)}
    assert keys

    # Then each is there
    for key in keys:
        assert f"`{key}`" in PAGE, key
    # And so are those that every line has
    for key in re.findall(r'"([a-z_]+)"', ast.unparse(ast.parse(_source(JsonFormatter)))):
        assert f"`{key}`" in PAGE, key


def _source(thing: type) -> str:
    import inspect

    return inspect.getsource(thing)
