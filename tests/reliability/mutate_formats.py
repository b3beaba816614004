"""Changes of files in binary formats that stay whole files of the format: headers, chunks, tables, entries."""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
import zlib
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from pydicom import DataElement
from pydicom.config import IGNORE

from .mutate import ODD_TEXT, Op, Ops, changed_bytes, changed_json


def changed_dicom(data: bytes, ops: Ops) -> bytes:
    """Elements removed, replaced, added; the file is written again as a whole one."""
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, at, value in ops:
            where = dataset.file_meta if kind % 13 == 12 else dataset
            tags = list(where.keys())
            if not tags:
                continue
            tag = tags[at % len(tags)]
            if tag == 0x7FE00010 and kind % 3:
                continue
            if kind % 6 == 0:
                del where[tag]
                continue
            vr, old = where[tag].VR, where[tag].value
            where[tag] = DataElement(tag, vr, _odd_element(vr, old, value), validation_mode=IGNORE)
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=kind % 5 > 0)
    return out.getvalue()


def _odd_element(vr: str, old: Any, value: int) -> Any:
    numbers = [0, 1, 2, 7, 15, 16, 17, 32, 65535, 100, 511]
    if vr in ("US", "SS", "UL", "SL"):
        return numbers[value % len(numbers)]
    if vr in ("OW", "OB"):
        return bytes(old or b"")[: value % 4096]
    if isinstance(old, pydicom.multival.MultiValue) and value % 3:
        many = list(map(str, old))
        match value % 4:
            case 0:
                many = many[:-1]
            case 1:
                many.append(many[-1])
            case 2:
                many[value // 4 % len(many)] = ODD_TEXT[value // 12 % 14]
            case _:
                many.reverse()
        return "\\".join(many)
    if value % 4 == 3 and str(old):
        return f"{old}1"[-16:]
    return ODD_TEXT[value // 4 % 14]


def changed_nifti(data: bytes, ops: Ops) -> bytes:
    """Fields of the header of a NIfTI file, packed or not."""
    packed = data[:2] == b"\x1f\x8b"
    plain = bytearray(gzip.decompress(data) if packed else data)
    layout = nib.Nifti1Header.template_dtype
    for kind, at, value in ops:
        if kind % 6 == 5:
            plain = bytearray(changed_bytes(bytes(plain), [Op(value, at, kind)]))
            continue
        names = layout.names or ()
        dtype, offset = (layout.fields or {})[names[at % len(names)]][:2]
        base = dtype.subdtype[0] if dtype.subdtype else dtype
        index = value % max(1, dtype.itemsize // base.itemsize)
        if base.kind == "f":
            odd: Any = (np.nan, np.inf, -np.inf, 0, -1, 1e38, 1e-38, 1.0001, 1000, 0.001, -5)[value // 8 % 11]
        elif base.kind in "iu":
            odd = (0, 1, 2, 3, 4, 8, 16, 64, 127, -1 if base.kind == "i" else 255, 512, 32767)[value // 8 % 12]
            odd = min(odd, np.iinfo(base).max)
        else:
            odd = bytes([value % 256]) * base.itemsize
        start = offset + index * base.itemsize
        plain[start : start + base.itemsize] = np.array(odd, base).tobytes()
    return gzip.compress(bytes(plain), 1, mtime=0) if packed else bytes(plain)


def changed_safetensors(data: bytes, ops: Ops) -> bytes:
    """The table of tensors, and the JSON in its metadata, with the right length in front."""
    (length,) = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    if ops[0].kind % 4:
        name = max(header["__metadata__"], key=lambda key: len(header["__metadata__"][key]))
        header["__metadata__"][name] = changed_json(header["__metadata__"][name].encode(), ops).decode()
        text = json.dumps(header).encode()
    else:
        text = changed_json(json.dumps(header).encode(), ops)
    if ops[-1].kind % 7 == 6 and len(tensors) >= 4:  # weights that are not numbers
        at = ops[-1].at % (len(tensors) // 4) * 4
        odd = (np.nan, np.inf, 1e38)[ops[-1].value % 3]
        tensors = tensors[:at] + np.float32(odd).tobytes() + tensors[at + 4 :]
    return struct.pack("<Q", len(text)) + text + tensors


def changed_png(data: bytes, ops: Ops) -> bytes:
    """Chunks removed, doubled, changed, with the right check sum."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    for kind, where, value in ops:
        if not chunks:
            break
        index = where % len(chunks)
        name, content = chunks[index]
        if kind % 5 == 0:
            del chunks[index]
        elif kind % 5 == 1:
            chunks.insert(value % len(chunks), chunks[index])
        else:
            chunks[index] = (name, changed_bytes(content, [Op(kind // 5, where, value)]))
    made = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return data[:8] + b"".join(made)


NAMES = ("", "/", "../up.dcm", "a/../../b.nii", "C:\\x.dcm", "__MACOSX\\._a", "a" * 300, "é.dcm", "x.zip", "same.dcm",
         "b.mhd", "con", ".hidden", "a\nb.dcm", "=1+1.nii", "d/")  # fmt: skip


def changed_zip(data: bytes, ops: Ops) -> bytes:
    """Entries renamed, doubled, removed, packed otherwise, changed; the archive is written again as a whole one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info), zipfile.ZIP_DEFLATED) for info in archive.infolist()]
    for kind, at, value in ops:
        if not entries:
            break
        index = at % len(entries)
        name, content, packing = entries[index]
        match kind % 6:
            case 0:
                entries[index] = (NAMES[value % len(NAMES)], content, packing)
            case 1:
                entries.append((name, entries[value % len(entries)][1], packing))
            case 2:
                del entries[index]
            case 3:
                packing = (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[value % 3]
                entries[index] = (name, content, packing)
            case 4:
                entries[index] = (name, changed_bytes(content, [Op(value, at, kind)]), packing)
            case _:
                entries[index] = (name.replace("/", "\\"), content, packing)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w") as archive:
            for name, content, packing in entries:
                archive.writestr(zipfile.ZipInfo(name), content, packing)
    return out.getvalue()
