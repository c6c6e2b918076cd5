"""Query a classification server over HTTP, in the formats of `serve`, TEI, Hugging Face
and vLLM.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from eat_lightning.deploy.verify.plan import Build
from eat_lightning.errors import ConfigError, one_line

Row = tuple[str, ...]
TRIES, WAIT_S, TIMEOUT_S = 4, 1.0, 120
BUSY = (429, 502, 503, 504)  # try again
REFUSED = (400, 413, 422)  # of a text, where it is asked alone


class ServerDied(ConfigError):
    """Error: the server has stopped answering."""


@dataclass(frozen=True)
class Protocol:
    """Format of requests and answers.

    Args:
        path: after the server's URL.
        body: makes the body from texts or pairs.
        rows: returns a row for each text from the content of an answer.
    """

    path: str
    body: Callable[[list[Row]], Any]
    rows: Callable[[Any], list[dict[str, Any]]]


def named(texts: Row) -> dict[str, str]:
    return dict(zip(("text", "text_pair"), texts, strict=False))


def one_or_pair(texts: Row) -> Any:
    return texts[0] if len(texts) == 1 else named(texts)


def row_of(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Return labels with their scores; a single one is a score."""
    if len(scores) == 1:
        return {"score": scores[0]["score"]}
    return {"probabilities": {each["label"]: each["score"] for each in scores}}


def vllm_row(item: dict[str, Any]) -> dict[str, Any]:
    if item["num_classes"] == 1:
        return {"score": item["probs"][0]}
    return {"label": item["label"], "confidence": max(item["probs"])}


PROTOCOLS = {
    "native": Protocol(
        "/classify",
        lambda batch: {"examples": [named(texts) for texts in batch]},
        lambda content: content["answers"],
    ),
    "tei": Protocol(
        "/predict",
        lambda batch: {"inputs": [[*texts] for texts in batch]},
        lambda content: [row_of(each) for each in content],
    ),
    "hf": Protocol(
        "",
        lambda batch: {"inputs": [*map(one_or_pair, batch)], "parameters": {"top_k": None}},
        lambda content: [row_of(each) for each in content],
    ),
    "vllm": Protocol(
        "/classify",
        lambda batch: {"input": [texts[0] for texts in batch]},
        lambda content: [vllm_row(each) for each in content["data"]],
    ),
}


@dataclass(frozen=True)
class Server:
    """Client of a server.

    Args:
        where: its name in error messages.
    """

    where: str
    build: Build

    def rows(self, batch: list[Row]) -> list[dict[str, Any]]:
        """Return rows for a batch. If the server refuses it, each text is sent alone.

        Raises:
            ServerDied: where it does not answer.
        """
        protocol = PROTOCOLS[self.build.api]
        try:
            found = protocol.rows(self.post(protocol.path, protocol.body(batch)))
            if len(found) != len(batch):
                raise ValueError(f"{len(found)} answers for {len(batch)} texts")
            return found
        except HTTPError as error:
            if error.code not in REFUSED:
                raise ConfigError(f"{self.where}: status {error.code}: {reason(error)}") from None
            if len(batch) == 1:
                return [{"error": reason(error)}]
            return [row for texts in batch for row in self.rows([texts])]
        except (KeyError, TypeError, ValueError) as error:
            how = f"its answer is not of api={self.build.api} ({one_line(error, 80)})"
            raise ConfigError(f"{self.where}: {how}") from None

    def post(self, path: str, body: Any) -> Any:
        """Return the content of an answer. Raises HTTPError for a status that a retry
        does not fix.
        """
        headers = {"Content-Type": "application/json", **self.authorization}
        url = str(self.build.model).rstrip("/") + path
        request = Request(url, json.dumps(body).encode(), headers)
        for wait_s in [*(WAIT_S * 2**i for i in range(TRIES - 1)), None]:
            try:
                with urlopen(request, timeout=TIMEOUT_S) as response:
                    return json.load(response)
            except HTTPError as error:
                if error.code not in BUSY:
                    raise
                why = f"status {error.code}: {reason(error)}"
            except (URLError, OSError, HTTPException) as error:
                why = one_line(getattr(error, "reason", error), 120)
            if wait_s is None:
                raise ServerDied(f"{self.where}: the server does not answer ({why})")
            time.sleep(wait_s)

    @property
    def authorization(self) -> dict[str, str]:
        name = self.build.token_env
        if name is None:
            return {}
        if not (token := os.environ.get(name, "").strip()):
            raise ConfigError(f"{self.where}: token_env={name}: there is no token in it")
        return {"Authorization": f"Bearer {token}"}


def reason(error: HTTPError) -> str:
    """Return a server's reason for a refusal, in one line."""
    return one_line(error.read(2000).decode(errors="replace") or error.reason, 160)
