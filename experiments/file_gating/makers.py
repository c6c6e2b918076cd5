"""Files made with the tools that own their formats, each different, the same for a seed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import subprocess
import tarfile
import tempfile
import wave
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import numpy as np

Maker = Callable[[np.random.Generator, bytes], dict[str, bytes]]  # with a text, files by extension


def written(save: Callable[..., Any], **how: Any) -> bytes:
    """The bytes that a tool writes into a file."""
    whole = io.BytesIO()
    save(whole, **how)
    return whole.getvalue()


def images(rng: np.random.Generator, _: bytes) -> dict[str, bytes]:
    """Noise, stripes or one colour, of 16 to 400 pixels a side."""
    from PIL import Image

    width, height = (int(n) for n in rng.integers(16, 400, 2))
    kind = rng.integers(3)
    size = [(height, width, 3), (1, width, 3), (1, 1, 3)][kind]
    pixels = np.broadcast_to(rng.integers(0, 256, size, dtype=np.uint8), (height, width, 3))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    formats = {"png": "PNG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "tiff": "TIFF"}
    found = {}
    for ext, name in (formats | {"jpg": "JPEG", "pdf": "PDF"}).items():
        more = {"quality": int(rng.integers(40, 96))} if name in ("JPEG", "WEBP") else {}
        found[ext] = written(image.save, format=name, **more)
    return found


def figures(rng: np.random.Generator, _: bytes) -> dict[str, bytes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=tuple(rng.uniform(1, 4, 2)))
    figure.subplots().plot(rng.normal(size=20))
    return {ext: written(figure.savefig, format=ext, dpi=50) for ext in ("pdf", "svg", "ps", "png")}


def archives(rng: np.random.Generator, text: bytes) -> dict[str, bytes]:
    packed, tarred = io.BytesIO(), io.BytesIO()
    name = f"file{rng.integers(1000)}.txt"
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.8 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", method) as file:
        file.writestr(name, text)
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    level = int(rng.integers(1, 10))
    return {
        "zip": packed.getvalue(),
        "tgz": tarred.getvalue(),
        "gz": gzip.compress(text, level, mtime=int(rng.integers(1 << 30))),
        "bz2": bz2.compress(text, level),
        "xz": lzma.compress(text, preset=level),
    }


def databases(rng: np.random.Generator, text: bytes) -> dict[str, bytes]:
    with sqlite3.connect(":memory:") as base:
        base.execute(f"pragma page_size = {1 << int(rng.integers(9, 14))}")
        base.execute("create table t (a, b)")
        base.executemany("insert into t values (?, ?)", [(i, text[:50]) for i in range(20)])
        base.commit()
        content = base.serialize()
    base.close()
    return {str(rng.choice(["sqlite", "sqlite3"])): content}


def sounds(rng: np.random.Generator, _: bytes) -> dict[str, bytes]:
    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setparams((int(rng.integers(1, 3)), 2, int(rng.choice([8000, 44100])), 0, "NONE", ""))
        file.writeframes(rng.integers(0, 256, 4000, dtype=np.uint8).tobytes())
    return {"wav": whole.getvalue()}


def workbooks(rng: np.random.Generator, text: bytes) -> dict[str, bytes]:
    import openpyxl

    book = openpyxl.Workbook()
    for line in printable(text).splitlines()[:30]:
        book.worksheets[0].append([line, float(rng.normal())])
    return {"xlsx": written(book.save)}


def documents(_: np.random.Generator, text: bytes) -> dict[str, bytes]:
    import docx

    made = docx.Document()
    for line in printable(text).splitlines()[:30]:
        made.add_paragraph(line)
    return {"docx": written(made.save)}


def slides(_: np.random.Generator, text: bytes) -> dict[str, bytes]:
    import pptx

    made = pptx.Presentation()
    title = made.slides.add_slide(made.slide_layouts[0]).shapes.title
    assert title is not None
    title.text = printable(text)[:40]
    return {"pptx": written(made.save)}


def mails(rng: np.random.Generator, text: bytes) -> dict[str, bytes]:
    message = EmailMessage()
    for name in rng.permutation(["From", "To", "Subject", "Message-ID"]):
        message[str(name)] = f"<a{rng.integers(1000)}@example.org>"
    message.set_content(printable(text))
    return {"eml": bytes(message)}


def signatures(_: np.random.Generator, text: bytes) -> dict[str, bytes]:
    """By gpg and a key of the moment, so not the same for a seed; nothing where there is no gpg."""
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o700)
        base = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        try:
            new = [*base, "--quick-gen-key", "a@example.org", "ed25519", "sign"]
            subprocess.run(new, check=True, capture_output=True)
            sign = [*base, "--armor", "--detach-sign"]
            done = subprocess.run(sign, input=text, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return {}
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)
    return {"asc": done.stdout}


def printable(text: bytes) -> str:
    plain = text.decode("ascii", "ignore").replace("\r", "")
    return "".join(c for c in plain if c.isprintable() or c == "\n")[:4000]


MAKERS: dict[str, Maker] = {
    "pillow": images,
    "matplotlib": figures,
    "archives": archives,
    "sqlite3": databases,
    "wave": sounds,
    "openpyxl": workbooks,
    "python-docx": documents,
    "python-pptx": slides,
    "email": mails,
    "gpg": signatures,
}
