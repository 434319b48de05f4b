"""The bytes that a token stands for, one by one: a character of several bytes may be spread over several tokens.

Byte-level BPE (Radford et al. 2019, GPT-2) writes every byte as a character of its own; SentencePiece (Kudo and Richardson 2018,
arXiv:1808.06226) writes blanks as U+2581, and bytes that it has no piece for as <0xE2>.
"""

import re
from typing import Any

_BLANK = "\N{LOWER ONE EIGHTH BLOCK}"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Spelling:
    """How a tokenizer spells its tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
        self._by_byte = _bytes_by_character() if "ByteLevel" in str(tokenizer.backend_tokenizer.decoder) else None

    def bytes(self, token: int) -> bytes:
        """What the token adds to a text, special tokens by their names."""
        piece = str(self._tokenizer.convert_ids_to_tokens(token))
        if token in self._added:
            return piece.encode()
        if self._by_byte is not None:
            return b"".join(self._by_byte[each] if each in self._by_byte else each.encode() for each in piece)
        if found := _BYTE.fullmatch(piece):
            return bytes([int(found[1], 16)])
        return piece.replace(_BLANK, " ").encode()


def _bytes_by_character() -> dict[str, bytes]:
    """GPT-2's table: printable bytes stand for themselves, the others for the characters from U+0100 on, in their order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("\N{INVERTED EXCLAMATION MARK}"), 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): bytes([byte]) for byte in printable} | {chr(0x100 + place): bytes([byte]) for place, byte in enumerate(others)}
