"""Jobs on the disk: what was accepted is there before it is said so, and until it is answered.

SQLite's write-ahead log, with an fsync for each transaction. A job's texts are deleted from it when
it is answered.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eat_lightning.errors import ConfigError
from eat_lightning.serve.question import Example

TABLE = """
create table if not exists jobs (
    number integer primary key, id text unique not null, at real not null,
    examples text, answers text, tries integer not null default 0
)
"""


@dataclass(frozen=True)
class Job:
    """tries: how often it was begun; more than 1 only where the gateway or its worker died."""

    id: str
    examples: list[Example]
    tries: int = 0


class Journal:
    """ConfigError where the folder cannot be used, or another gateway uses it."""

    def __init__(self, folder: str):
        path = Path(folder)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One thread at a time uses the journal, not always the same one.
            self.mark = FileLock(path / "lock", timeout=0, mode=0o600, thread_local=False)
            self.mark.acquire()
        except Timeout:
            raise ConfigError(f"journal={folder} is another gateway's, which runs") from None
        except OSError as error:
            raise ConfigError(f"journal={folder}: cannot be used ({error})") from None
        file = path / "jobs.sqlite"
        try:
            os.close(os.open(file, os.O_CREAT, 0o600))
            self.base = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
            self.base.execute("pragma journal_mode=wal")
            self.base.execute("pragma synchronous=full")
            self.base.execute("pragma secure_delete=on")
            self.base.execute(TABLE)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"journal={folder}: cannot be used ({error})") from None

    def write(
        self, accepted: list[Job], begun: list[str], answered: list[tuple[str, list[Any]]]
    ) -> None:
        """All of it or nothing, and on the disk when this returns."""
        now = time.time()
        new = [(job.id, now, json.dumps(job.examples)) for job in accepted]
        done = [(json.dumps(answers), id) for id, answers in answered]
        run = self.base.executemany
        self.base.execute("begin immediate")
        try:
            run("insert into jobs (id, at, examples) values (?, ?, ?)", new)
            run("update jobs set tries = tries + 1 where id = ?", [(id,) for id in begun])
            run("update jobs set answers = ?, examples = null where id = ?", done)
            self.base.execute("commit")
        except BaseException:
            if self.base.in_transaction:
                self.base.execute("rollback")
            raise

    def waiting(self) -> list[Job]:
        """Accepted and not answered, in the order they came."""
        asked = "select id, examples, tries from jobs where answers is null order by number"
        return [
            Job(id, [Example(*example) for example in json.loads(examples)], tries)
            for id, examples, tries in self.base.execute(asked)
        ]

    def answers(self, id: str) -> list[Any] | None:
        """None while it waits; KeyError where there is no such job."""
        found = self.base.execute("select answers from jobs where id = ?", (id,)).fetchone()
        if found is None:
            raise KeyError(id)
        return None if found[0] is None else json.loads(found[0])

    def forget(self, older_than_s: float) -> None:
        """Deletes answered jobs that were accepted so long ago."""
        bound = time.time() - older_than_s
        self.base.execute("delete from jobs where answers is not null and at < ?", (bound,))

    def close(self) -> None:
        self.base.close()
        self.mark.release()
