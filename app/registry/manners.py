"""Manners: how one registry wants to be asked, where that differs from others or from the specification."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a chunk where nothing else is known. Proxies before registries commonly let 10 MB and more through.
CHUNK = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class Manners:
    """Of uploads, listings and scopes. Raises `ValueError` for what contradicts itself.

    A blob goes in one request wherever that is possible: of registries that take chunks some lose them.
    """

    #: Bytes of the largest blob that goes in one request; None: any.
    whole_up_to: int | None = None
    #: Bytes of a chunk of what is larger, or of what was refused as too large (413); None: nothing is sent in chunks.
    chunk: int | None = CHUNK
    #: Entries asked for on a page of a listing.
    page_size: int = 1000
    #: The actions that deleting needs.
    delete_actions: tuple[str, ...] = ("delete",)
    #: Whether listing repositories has a scope. Where it has none, any token will do.
    catalog_scope: bool = True

    def __post_init__(self) -> None:
        if self.whole_up_to is not None and self.chunk is None:
            raise ValueError("what does not go in one request has to go in chunks")
        if (self.chunk is not None and self.chunk < 1) or self.page_size < 1 or not self.delete_actions:
            raise ValueError("a chunk has a byte, a page an entry and a deletion an action at least")

    def actions(self, *wanted: str) -> tuple[str, ...]:
        """The actions to ask for, each once, where these are wanted."""
        named = (each for action in wanted for each in (self.delete_actions if action == "delete" else (action,)))
        return tuple(dict.fromkeys(named))

    def in_chunks(self, size: int | None, refused: int | None = None) -> bool:
        """Tell whether a blob of this size goes in chunks; `refused` is the least size that was refused in one request.

        Of unknown size it never does: nobody could say where its last chunk ends.
        """
        if size is None or self.chunk is None:
            return False
        return (self.whole_up_to is not None and size > self.whole_up_to) or (refused is not None and size >= refused)
