"""Random access to the examples of ordinary, uncompressed TFRecord files.

A record is its length (8 bytes, little endian), a checksum of the length (4), the data and a
checksum of the data (4). Walking from length to length gives every record's place without
reading the data, about two million records a second.
"""

import hashlib
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlsuite.errors import DlsuiteError

_HEADER = struct.Struct("<Q")
_BEFORE, _AFTER = 12, 4


@dataclass(frozen=True)
class Shard:
    """A run of records in a file.

    Attributes:
        path: of the file.
        skip: records left out at its beginning.
        take: records that follow.
    """

    path: Path
    skip: int
    take: int


class Records(Sequence[bytes]):
    """The records of several files, one after the other, by index. Thread-safe.

    Args:
        shards: what to read from which file.

    Raises:
        DlsuiteError: a file is damaged or holds fewer records than it should.
    """

    def __init__(self, shards: Sequence[Shard]):
        self._shards = tuple(shards)
        self._maps: list[mmap.mmap] = []
        number, offsets, lengths = [], [], []
        for shard in shards:
            with open(shard.path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            offset, length = _walk(mapped, shard)
            number.append(np.full(shard.take, len(self._maps), np.int32))
            offsets.append(offset)
            lengths.append(length)
            self._maps.append(mapped)
        self._number = np.concatenate(number)
        self._offset = np.concatenate(offsets)
        self._length = np.concatenate(lengths)

    def __len__(self) -> int:
        return len(self._offset)

    def fingerprint(self) -> str:
        """Returns a name of these records that changes when their files do."""
        digest = hashlib.blake2b(digest_size=8)
        for shard in self._shards:
            stat = shard.path.stat()
            facts = (shard.path.name, stat.st_size, stat.st_mtime_ns, shard.skip, shard.take)
            digest.update(repr(facts).encode())
        return digest.hexdigest()

    def __getitem__(self, index: int) -> bytes:
        start = int(self._offset[index])
        return self._maps[self._number[index]][start : start + int(self._length[index])]


def _walk(mapped: mmap.mmap, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """Returns offsets and lengths of the shard's records."""
    offset = np.empty(shard.take, np.int64)
    length = np.empty(shard.take, np.int64)
    place, end = 0, len(mapped)
    for record in range(shard.skip + shard.take):
        size = _HEADER.unpack_from(mapped, place)[0] if place + _BEFORE <= end else end
        if place + _BEFORE + size + _AFTER > end:
            raise DlsuiteError(
                "A TFRecord file must hold the records that its dataset counts. Received: "
                f"{str(shard.path)!r}, damaged or cut off in record {record}. Remove its folder "
                "and have the dataset prepared again."
            )
        if record >= shard.skip:
            offset[record - shard.skip] = place + _BEFORE
            length[record - shard.skip] = size
        place += _BEFORE + size + _AFTER
    return offset, length
