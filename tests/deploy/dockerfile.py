"""deploy/Dockerfile and .dockerignore, read as far as ours go."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tests.support.root import ROOT

DOCKERFILE = ROOT / "deploy/Dockerfile"
IGNORED = ROOT / ".dockerignore"

#: What a program finds where no image says anything else.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of it, continued ones put together."""

    word: str
    flags: Mapping[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """Its arguments; those of the exec form are JSON."""
        if self.text.startswith("["):
            loaded: list[str] = json.loads(self.text)
            return loaded
        return shlex.split(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    """What follows a FROM."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def last(self, word: str) -> Instruction:
        return [each for each in self.instructions if each.word == word][-1]

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    @property
    def environment(self) -> dict[str, str]:
        """By ENV."""
        pairs = [word.split("=", 1) for each in self.all("ENV") for word in each.words]
        return {"PATH": PATH, **dict(pairs)}

    @property
    def command(self) -> list[str]:
        """What runs where nothing else is said."""
        return [*self.last("ENTRYPOINT").words, *self.last("CMD").words]

    @property
    def healthcheck(self) -> list[str]:
        """The command that asks for its health."""
        kind, _, command = self.last("HEALTHCHECK").text.partition(" ")
        assert kind == "CMD"
        loaded: list[str] = json.loads(command)
        return loaded


def stages(text: str | None = None) -> list[Stage]:
    """All of it, with the defaults of its arguments filled in."""
    arguments: dict[str, str] = {}
    found: list[tuple[str, str, list[Instruction]]] = []
    for instruction in _instructions(DOCKERFILE.read_text() if text is None else text):
        if instruction.word == "ARG" and not found:
            name, _, default = instruction.text.partition("=")
            arguments[name] = default
        elif instruction.word == "FROM":
            base, _, name = instruction.text.partition(" AS ")
            found.append((re.sub(r"\$\{(\w+)\}", lambda each: arguments[each[1]], base), name, []))
        else:
            found[-1][2].append(instruction)
    return [Stage(base, name, tuple(instructions)) for base, name, instructions in found]


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        flags = {}
        while match := re.match(r"\s*--([a-z-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Instruction(word.upper(), flags, rest.strip())


def is_sent(path: PurePosixPath) -> bool:
    """Whether a file of the checkout is part of what is built from: the last pattern that matches decides."""
    sent = True
    for line in IGNORED.read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and _matches(pattern.removeprefix("!"), path):
            sent = pattern.startswith("!")
    return sent


def context() -> list[PurePosixPath]:
    """All files of the checkout that are sent."""
    tops = {line[1:].strip() for line in IGNORED.read_text().splitlines() if line.startswith("!")}
    files = [each for top in tops for each in (ROOT / top, *(ROOT / top).rglob("*")) if each.is_file()]
    found = [PurePosixPath(each.relative_to(ROOT).as_posix()) for each in files]
    return sorted(path for path in found if is_sent(path))


def copied(instruction: Instruction, workdir: Path | PurePosixPath) -> Iterator[tuple[str, PurePosixPath]]:
    """What a COPY copies, and where to."""
    *sources, target = instruction.words
    for source in sources:
        into = PurePosixPath(workdir) / target
        # Into a directory if that is said, or there are several; of a directory it is the content that is copied.
        yield source, into / PurePosixPath(source).name if target.endswith("/") or len(sources) > 1 else into


def _matches(pattern: str, path: PurePosixPath) -> bool:
    """Whether it, or a directory that it is in, is what a pattern names."""
    parts = path.parts
    for length in range(1, len(parts) + 1):
        some = parts[:length]
        if pattern.startswith("**/"):
            if fnmatchcase(some[-1], pattern[3:]):
                return True
        elif len(some) == len(PurePosixPath(pattern).parts) and all(
            map(fnmatchcase, some, PurePosixPath(pattern).parts)
        ):
            return True
    return False
