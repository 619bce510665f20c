"""The file of a backup: a zip with the documents of each collection, and how to make the collections anew.

    collections/<name>.bson   its documents, one after the other, byte for byte; `bsondump` reads such files
    metadata.bson             {"format", "database", "begun_at", "collections": [{"name", "type", "options", "indexes",
                              "documents": how many}]}

The table of contents of a zip is at its end, and each file in it has a checksum: one that was cut or changed is found.
The metadata is BSON too. In JSON an index on `{"a": {"$regex": …}}` could not be told from a regular expression.
"""

import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from migrations.database import Document, MigrationError

FORMAT = 1
METADATA = "metadata.bson"
FAST = 1  # zlib's level; a higher one takes three times as long for a tenth less
RAW = CodecOptions(document_class=RawBSONDocument)
# The dates of a document may be out of the range of Python's.
DECODED: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO, tz_aware=True)


@contextmanager
def writing(path: Path) -> Iterator[ZipFile]:
    """Give a new zip that gets the name `path` at the end of the block, and is removed if the block fails.

    Only its owner can read it. Raises `MigrationError` if it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise MigrationError(f"no file can be written to {path.parent}: {error.strerror}; choose another") from error
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=FAST) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise MigrationError(f"{path} cannot be written: {error.strerror}; make room, or choose another") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[tuple[ZipFile, Document]]:
    """Give the zip at `path` and its metadata, once all of it has been read and is whole. Raises `MigrationError`."""
    try:
        archive = ZipFile(path)
    except OSError as error:
        raise MigrationError(f"{path} cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from error
    with archive:
        try:
            metadata = _checked(archive)
        except (zipfile.BadZipFile, zlib.error, BSONError, EOFError, KeyError, NotImplementedError, OSError) as error:
            raise _damaged(path, error) from error
        yield archive, metadata


def _damaged(path: Path, error: Exception) -> MigrationError:
    return MigrationError(f"{path} is no backup, or is damaged ({error or 'it ends too early'}): use another")


def add(archive: ZipFile, name: str, documents: Iterator[RawBSONDocument]) -> int:
    """Add the documents of the collection `name`, and return how many there are."""
    count = 0
    with archive.open(_member(name), "w", force_zip64=True) as file:
        for count, document in enumerate(documents, 1):  # noqa: B007
            file.write(document.raw)
    return count


def add_metadata(archive: ZipFile, metadata: Document) -> None:
    """Add the metadata, which comes last: it says how many documents there are."""
    archive.writestr(METADATA, bson.encode({"format": FORMAT, **metadata}))


def documents(archive: ZipFile, name: str) -> Iterator[RawBSONDocument]:
    """The documents of the collection `name`."""
    with archive.open(_member(name)) as file, io.BufferedReader(file) as buffered:  # type: ignore[type-var]
        yield from bson.decode_file_iter(buffered, RAW)


def _member(name: str) -> str:
    return f"collections/{name}.bson"


def _checked(archive: ZipFile) -> dict[str, Any]:
    """The metadata of an archive of which every byte is as it was written; zipfile compares the checksums."""
    metadata = bson.decode(archive.read(METADATA), DECODED)
    if metadata["format"] != FORMAT:
        raise BSONError(f"its format is {metadata['format']}, and this version knows {FORMAT}")
    for each in metadata["collections"]:
        if each["type"] == "collection":
            found = sum(1 for _ in documents(archive, each["name"]))
            if found != each["documents"]:
                raise BSONError(f"{found} of {each['documents']} documents of {each['name']}")
    return metadata
