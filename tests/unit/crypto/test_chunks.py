from __future__ import annotations

import io
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.crypto.chunks import CHUNK_SIZE, ChunkCipher, open_stream, seal_stream
from security.crypto.errors import (
    CryptoError,
    DocumentAltered,
    DocumentMoved,
    MalformedDocument,
    StreamTruncated,
    UnknownSuite,
    WrongKey,
)
from security.crypto.padding import padded_size
from tests.unit.crypto.crypto_helpers import PATIENT, column, key

SUITES = pytest.mark.parametrize("suite", [1, 2])
RECORD, SUBJECT = b"r" * 16, b"s" * 16


def sealed(content, suite=1, owner=None, source=None):
    owner = owner or key(SUBJECT)
    cipher = ChunkCipher.create(column(suite), owner, RECORD, SUBJECT, 1)
    return owner, cipher.header, list(seal_stream(cipher, source or io.BytesIO(content)))


def opened(owner, header, chunks, suite=1, *, record=RECORD, subject=SUBJECT, version=1):
    cipher = ChunkCipher.from_header(column(suite), owner, header, record, subject, version)
    return b"".join(open_stream(cipher, chunks))


SIZES = [0, 1, 31, 511, 512, CHUNK_SIZE - 2, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE - 1,
         2 * CHUNK_SIZE, 5 * CHUNK_SIZE + 77, 1_000_003]  # fmt: skip


@SUITES
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["random", "zeros", "markers"])
def test_enc_16_a_stream_of_any_size_comes_back(suite, size, kind):
    content = {"random": os.urandom(size), "zeros": bytes(size), "markers": (b"\x80\0\0" * size)[:size]}[kind]
    owner, header, chunks = sealed(content, suite)
    assert opened(owner, header, chunks, suite) == content
    overhead = 28 if suite == 1 else 48
    assert all(len(chunk) == CHUNK_SIZE + overhead for chunk in chunks[:-1])
    assert sum(len(chunk) - overhead for chunk in chunks) == padded_size(size)


class Trickle:
    """A source that gives what it likes, as sockets do."""

    def __init__(self, content, sizes):
        self.rest, self.sizes = content, iter(sizes)

    def read(self, size):
        size = min(size, next(self.sizes, size))
        part, self.rest = self.rest[:size], self.rest[size:]
        return part


@settings(PATIENT, max_examples=30)
@given(st.integers(0, 3 * CHUNK_SIZE), st.lists(st.integers(1, CHUNK_SIZE), max_size=20))
def test_enc_16_the_chunks_do_not_depend_on_how_the_source_gives_its_bytes(size, sizes):
    content = os.urandom(size)
    owner, header, chunks = sealed(content, source=Trickle(content, sizes))
    assert opened(owner, header, chunks) == content


@SUITES
def test_enc_16_chunks_can_be_neither_left_out_nor_moved_nor_doubled(suite):
    owner, header, chunks = sealed(os.urandom(4 * CHUNK_SIZE), suite)
    assert len(chunks) > 4
    broken = {
        "first missing": chunks[1:],
        "middle missing": chunks[:2] + chunks[3:],
        "swapped": [chunks[1], chunks[0], *chunks[2:]],
        "doubled": [chunks[0], *chunks],
        "last moved forward": [chunks[-1], *chunks[:-1]],
    }
    for stream in broken.values():
        with pytest.raises((DocumentAltered, StreamTruncated)):
            opened(owner, header, stream, suite)


@SUITES
def test_enc_16_a_truncated_or_lengthened_stream_has_its_own_error(suite):
    owner, header, chunks = sealed(os.urandom(3 * CHUNK_SIZE), suite)
    for stream in ([], chunks[:-1], chunks[:1]):
        with pytest.raises(StreamTruncated):
            opened(owner, header, stream, suite)
    with pytest.raises(StreamTruncated):
        opened(owner, header, [*chunks, chunks[-1]], suite)


@SUITES
def test_enc_16_a_chunk_of_another_stream_or_place_is_refused(suite):
    owner, header, chunks = sealed(b"x" * 100, suite)
    _owner, _header, others = sealed(b"y" * 100, suite, owner)
    with pytest.raises(DocumentAltered):
        opened(owner, header, others, suite)
    with pytest.raises(DocumentMoved):
        opened(owner, header, chunks, suite, record=b"R" * 16)
    with pytest.raises(DocumentMoved):
        opened(owner, header, chunks, suite, version=2)
    with pytest.raises(WrongKey):
        opened(key(SUBJECT), header, chunks, suite)
    with pytest.raises(WrongKey):
        ChunkCipher.create(column(suite), key(b"S" * 16), RECORD, SUBJECT, 1)


@SUITES
def test_enc_16_any_chunk_opens_alone(suite):
    content = os.urandom(3 * CHUNK_SIZE)
    owner, header, chunks = sealed(content, suite)
    cipher = ChunkCipher.from_header(column(suite), owner, header, RECORD, SUBJECT, 1)
    assert cipher.open(1, chunks[1], last=False) == content[CHUNK_SIZE : 2 * CHUNK_SIZE]


@SUITES
def test_a_flipped_bit_in_header_or_chunk_is_noticed(suite):
    owner, header, chunks = sealed(b"x" * 40, suite)
    for position in range(len(header)):
        broken = bytearray(header)
        broken[position] ^= 1
        with pytest.raises(CryptoError):
            opened(owner, bytes(broken), chunks, suite)
    for position in range(len(chunks[0])):
        body = bytearray(chunks[0])
        body[position] ^= 0x80
        with pytest.raises((DocumentAltered, StreamTruncated)):
            opened(owner, header, [bytes(body)], suite)
    for wrong in (b"", header[:-1], header + b"x"):
        with pytest.raises(MalformedDocument):
            opened(owner, wrong, chunks, suite)
    with pytest.raises(UnknownSuite):
        opened(owner, b"\1\3" + header[2:], chunks, suite)
    for short in (b"", b"x" * 20):
        with pytest.raises((MalformedDocument, DocumentAltered)):
            opened(owner, header, [short], suite)


def test_a_stream_needs_the_memory_of_a_few_chunks_whatever_its_size():
    size = 24 * 1024 * 1024

    class Source:
        left = size

        def read(self, n):
            n = min(n, self.left)
            self.left -= n
            return bytes(n)

    owner = key(SUBJECT)
    cipher = ChunkCipher.create(column(), owner, RECORD, SUBJECT, 1)
    again = ChunkCipher.from_header(column(), owner, cipher.header, RECORD, SUBJECT, 1)
    tracemalloc.start()
    total = sum(len(part) for part in open_stream(again, seal_stream(cipher, Source())))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == size
    assert peak < 12 * CHUNK_SIZE
