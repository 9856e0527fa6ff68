"""A worker's bulk transfers: parameters and files down, deltas and a run's model up. Each goes on
where it broke, for as long as patience lasts; only an answer ends it. Founding begins anew.
"""
import logging
import os
import pathlib
import time

import grpc
import numpy as np
import xxhash

from . import protocol
from .errors import GivenUp, RubatoError
from .link import Link
from .transport import may_pass, pauses, said

CHUNK_BYTES = 1 << 20  # about: whole blocks of the codec
GLANCE_S = 0.05
log = logging.getLogger("rubato")


class _Damaged(ConnectionError):
    """A chunk that is not the one that was sent: fetched again."""


def _always() -> bool:
    return True


def _checked(chunk, offset: int, total: int) -> int:
    """[bytes] of a chunk that continues at `offset` of `total`."""
    size = len(chunk.data)
    if chunk.offset != offset or chunk.total != total or not 0 < size <= total - offset:
        raise _Damaged(f"[exchange] got {size} bytes at {chunk.offset} of {chunk.total}, want the "
                       f"next ones at {offset} of {total}")
    if xxhash.xxh3_64_intdigest(chunk.data) != chunk.checksum:
        raise _Damaged(f"[exchange] got a chunk at {offset} with a wrong checksum, want what was "
                       "sent")
    return size


def _chunks(make_part, data: memoryview, offset: int, block_bytes: int):
    """Parts of the transfer from `offset` on; after a cut the first ends where a block does."""
    step = max(CHUNK_BYTES // block_bytes, 1) * block_bytes
    while offset < len(data):
        piece = bytes(data[offset:offset + step - offset % block_bytes])
        yield make_part(chunk=protocol.message("Chunk")(
            offset=offset, total=len(data), checksum=xxhash.xxh3_64_intdigest(piece), data=piece))
        offset += len(piece)


class Courier:
    def __init__(self, link: Link, patience_s: float):
        self._link, self._patience_s = link, patience_s

    def persist(self, attempt, is_wanted=_always):
        """What `attempt` returns; repeated while its errors may pass. GivenUp when nobody wants it
        any more; RubatoError with the coordinator's answer otherwise."""
        began, pause = time.monotonic(), pauses()
        while True:
            try:
                return attempt()
            except (grpc.RpcError, ConnectionError) as error:
                if not may_pass(error):
                    raise
                if time.monotonic() - began > self._patience_s:
                    raise RubatoError(f"[exchange] no answer: {said(error)}") from error
                log.debug("a transfer broke: %s; trying on", said(error))
            until = time.monotonic() + next(pause)
            while time.monotonic() < until:
                if not is_wanted():
                    raise GivenUp("[exchange] given up: nobody wants it any more")
                time.sleep(GLANCE_S)

    def fetch_parameters(self, version: int, codec, described, num_params: int, is_wanted):
        """Parameters of a version [P], or None when the coordinator has them no more."""
        values = np.empty(num_params, np.float32)
        total = codec.encoded_bytes(num_params)
        request = protocol.message("FetchRequest")(version=version, codec=described)

        def attempt():
            for chunk in self._link.fetch(request):
                offset = request.offset
                size = _checked(chunk, offset, total)
                if offset % codec.block_bytes != 0:
                    raise _Damaged("[exchange] got a chunk that cuts a block")
                first = offset // codec.block_bytes * codec.block_values
                count = min(-(-size // codec.block_bytes) * codec.block_values, num_params - first)
                encoded = np.frombuffer(chunk.data, np.uint8)
                values[first:first + count] = codec.decode(encoded, count)
                request.offset = offset + size
            if request.offset != total:
                raise _Damaged(f"[exchange] got {request.offset} of {total} bytes")
            return values

        try:
            return self.persist(attempt, is_wanted)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise RubatoError(said(error)) from error

    def fetch_file(self, file, directory: pathlib.Path) -> pathlib.Path:
        """A RunFile into `directory`, there only when it is whole; kept when it is there already."""
        path = directory / file.name
        if directory.resolve() not in path.resolve().parents:
            raise RubatoError(f"[description] got a file {file.name}, want one below a directory")
        if path.exists() and _digest_of_file(path) == file.digest:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        request = protocol.message("FetchRequest")(file=file.name)
        with open(part, "wb") as out:
            def attempt():
                for chunk in self._link.fetch(request):
                    size = _checked(chunk, request.offset, file.bytes)
                    out.write(chunk.data)
                    request.offset += size
                if request.offset != file.bytes:
                    raise _Damaged(f"[exchange] got {request.offset} of {file.bytes} bytes")

            try:
                self.persist(attempt)
            except grpc.RpcError as error:
                raise RubatoError(f"{file.name}: {said(error)}") from error
            out.flush()
            os.fsync(out.fileno())
        if (digest := _digest_of_file(part)) != file.digest:
            raise RubatoError(f"[exchange] {file.name}: got digest {digest}, want {file.digest}; the "
                              "coordinator's copy changed since it was described")
        os.replace(part, path)
        return path

    def push(self, header, encoded: np.ndarray, block_bytes: int, is_wanted):
        """The coordinator's PushReply. A delta that was judged before gets its verdict again."""
        data = memoryview(encoded)
        make_part = protocol.message("PushPart")
        ask = protocol.message("PushOffsetRequest")(task=header.task,
                                                    incarnation=header.incarnation)

        def attempt():
            offset = min(max(self._link.push_offset(ask).offset, 0), len(data))

            def parts():
                yield make_part(header=header)
                yield from _chunks(make_part, data, offset, block_bytes)

            return self._link.push(parts())

        return self.persist(attempt, is_wanted)

    def found(self, header, parameters: np.ndarray) -> None:
        """The model of an opaque run: [P], little-endian. RpcError as the protocol has it; who founds
        begins anew."""
        data = memoryview(parameters.view(np.uint8))
        make_part = protocol.message("FoundPart")

        def parts():
            yield make_part(header=header)
            yield from _chunks(make_part, data, 0, parameters.itemsize)

        self._link.found(parts())


def _digest_of_file(path: pathlib.Path) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()
