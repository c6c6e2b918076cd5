"""Every decision as a JSON line, without the text unless that is asked for."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.serving.question import Example


class Decisions:
    """Appends to a file. ConfigError where it cannot be opened; a disk that is full later is told
    once, and takes no answer with it."""

    def __init__(self, path: str, with_text: bool):
        self.path, self.with_text, self.told = path, with_text, False
        try:
            self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"log={path}: cannot be opened ({error})") from None

    def write(self, decided: list[tuple[Example, dict[str, Any]]], **state: Any) -> None:
        """`state`: of the gateway, at that time."""
        at = round(time.time(), 3)
        lines = []
        for example, answer in decided:
            about = {"at": at, "source": example.source, "mime": example.mime}
            about["num_characters"] = example.num_characters
            text = {"texts": example.texts} if self.with_text else {}
            lines.append(json.dumps(about | answer | state | text) + "\n")
        self.append("".join(lines))

    def event(self, event: dict[str, Any]) -> None:
        self.append(json.dumps({"at": round(time.time(), 3)} | event) + "\n")

    def append(self, text: str) -> None:
        try:
            os.write(self.file, text.encode())
        except OSError as error:
            if not self.told:
                print(f"log={self.path}: cannot be written ({error})", file=sys.stderr, flush=True)
            self.told = True

    def close(self) -> None:
        os.close(self.file)
