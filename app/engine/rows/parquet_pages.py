"""The pages of a column of Parquet, by their headers, which tell the sizes before anything is unpacked.

A header is a struct in Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md),
its fields as in https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from app.errors import UnreadableFile

HEADER_BYTES, MAX_HEADER_BYTES = 2**10, 2**16  # mostly, and with long statistics
MAX_DEPTH = 8
TRUE, FALSE, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 12
UNPACKED, PACKED, DATA_PAGE, DATA_PAGE_2 = 2, 3, 5, 8  # fields of a header
ENCODING = {DATA_PAGE: 2, DATA_PAGE_2: 4}  # field of a data page's own header
DELTA_BYTE_ARRAY = 7

Fields = dict[int, Any]


class PageHeader(NamedTuple):
    """The bytes of a page's header, packed and unpacked, and whether a value in it may begin as the one before."""

    own_bytes: int
    packed_bytes: int
    unpacked_bytes: int
    shares_beginnings: bool


def pages(path: Path, chunk: Any) -> Iterator[PageHeader]:
    """The header of each page of a column chunk, as the footer places them. Raises UnreadableFile for broken ones."""
    place = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        place = min(place, chunk.dictionary_page_offset)
    end = place + chunk.total_compressed_size
    with path.open("rb") as file:
        while place < end:
            header = _header_at(file, place, HEADER_BYTES) or _header_at(
                file, place, MAX_HEADER_BYTES
            )
            if header is None or header.packed_bytes < 0 or header.unpacked_bytes < 0:
                raise UnreadableFile("has a page of Parquet that is broken")
            yield header
            place += header.own_bytes + header.packed_bytes


def _header_at(file: IO[bytes], place: int, most: int) -> PageHeader | None:
    """The header in so many bytes; None where it is no whole one."""
    file.seek(place)
    reader = _Compact(file.read(most))
    try:
        fields = reader.struct(0)
        encodings = [fields[kind][field] for kind, field in ENCODING.items() if kind in fields]
        shares = DELTA_BYTE_ARRAY in encodings
        return PageHeader(reader.place, int(fields[PACKED]), int(fields[UNPACKED]), shares)
    except (IndexError, KeyError, TypeError):
        return None


@dataclass
class _Compact:
    """Bytes of the compact protocol. Raises IndexError past their end, TypeError for an unknown type."""

    content: bytes
    place: int = 0

    def struct(self, depth: int) -> Fields:
        """The fields of a struct, by number."""
        fields: Fields = {}
        number = 0
        while kind_and_step := self._byte():
            step, kind = kind_and_step >> 4, kind_and_step & 15
            number = number + step if step else self._integer()
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise TypeError
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind in INTEGERS:
            return self._integer()
        if kind == DOUBLE:
            return self._skip(8)
        if kind == BINARY:
            return self._skip(self._varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            for _ in range(count):
                self._value(head & 15, depth + 1)
            return None
        raise TypeError

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise TypeError

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self.content):
            raise IndexError
