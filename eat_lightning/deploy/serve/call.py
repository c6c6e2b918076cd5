"""Handle one request of any format: queue its examples, and return answers and scores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import numpy as np
from fastapi import Request
from scipy.special import expit, softmax

from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.worker import Answer, Ask, Refused

LISTED = 256  # examples whose depths a header lists
FUNCTIONS = {"softmax": softmax, "sigmoid": expit, "none": np.asarray}
BY_PROBLEM_TYPE = {  # as the pipelines of transformers choose it
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "none",
}


@dataclass(frozen=True)
class Scored:
    """One example's answer with its logits."""

    answer: Answer
    logits: np.ndarray
    num_tokens: int
    problem_type: str

    def scores(self, function: str | None = None) -> list[float]:
        """Return a score for each label.

        Args:
            function: "softmax", "sigmoid" or "none"; None: by problem type.
        """
        apply = FUNCTIONS[function or BY_PROBLEM_TYPE[self.problem_type]]
        return [float(score) for score in apply(self.logits)]


@dataclass(frozen=True)
class Call:
    """A request to a gateway.

    Args:
        deadline_ms: from the request's header; None without one.
        source: of its examples, from the header; None without one.
    """

    gateway: Gateway
    request: Request
    deadline_ms: float | None
    source: str | None

    async def scored(
        self,
        texts: Sequence[Sequence[str]],
        cut_at: str | None = None,
        long: Literal["cut", "refuse"] | None = None,
    ) -> list[Scored]:
        """Answer each text or pair.

        Args:
            cut_at: side at which a text that is too long is truncated; None: the tokenizer's.
            long: truncate or refuse such a text; None: the gateway's setting.

        Raises:
            Refused: 413 for too many or too long texts, 422 for texts that do not fit the task.
        """
        self.check(texts)
        examples = [
            RequestExample([*each], self.source, cut_at=cut_at, long=long) for each in texts
        ]
        asks, answers = await self.whole(examples)
        about = self.gateway.about
        found = []
        for ask, answer in zip(asks, answers, strict=True):
            assert ask.scores is not None
            logits = np.array(ask.scores.logits)[: max(1, len(about.labels))]  # no predicted error
            found.append(Scored(answer, logits, ask.scores.num_tokens, about.problem_type))
        if not all(np.isfinite(each.logits).all() for each in found):
            raise Refused(424, "a score is not finite")
        return found

    def check(self, texts: Sequence[Sequence[str]]) -> None:
        plan, columns = self.gateway.plan, self.gateway.about.columns
        if len(texts) > plan.max_texts:
            bound = f"maximum allowed batch size {plan.max_texts}"
            raise Refused(413, f"batch size {len(texts)} > {bound}")
        for each in texts:
            if len(each) != len(columns):
                wanted = "one text" if len(columns) == 1 else "a pair of texts"
                raise Refused(422, f"inputs must be {wanted} each, for this model")
            if max(map(len, each)) > plan.max_chars:
                raise Refused(413, f"inputs must have at most {plan.max_chars} characters")

    async def whole(
        self, examples: list[RequestExample], deadline_ms: float | None = None
    ) -> tuple[list[Ask], list[Answer]]:
        """Return all answers in order.

        Args:
            deadline_ms: from the body; the earlier of this and the header's applies.

        Raises:
            Refused: where an answer is missing.
        """
        gateway = self.gateway
        with gateway.metrics.te.request(len(examples)) as asks:
            asks += gateway.accept(examples, self.sooner(deadline_ms))
            return asks, await until_gone(gateway, self.request, asks)

    def sooner(self, deadline_ms: float | None) -> float:
        given = [ms for ms in (deadline_ms, self.deadline_ms) if ms is not None]
        return min(given, default=self.gateway.plan.deadline_ms)


async def until_gone(gateway: Gateway, request: Request, asks: list[Ask]) -> list[Answer]:
    """Return all answers in order. If the client disconnects, its examples are removed from the
    queue.

    Raises:
        Refused: where an answer is missing.
    """

    async def gathered() -> list[Answer]:
        found: dict[int, Answer] = {}
        async with aclosing(gateway.answers(asks)) as answers:
            async for place, answer in answers:
                if isinstance(answer, Refused):
                    raise answer
                found[place] = answer
        return [found[place] for place in range(len(asks))]

    reading = asyncio.ensure_future(gathered())
    gone = asyncio.ensure_future(request.receive())  # after the body, the only message: hung up
    try:
        await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise Refused(499, "the client hung up")
        return reading.result()
    finally:
        gone.cancel()
        reading.cancel()


def depth_headers(scored: Sequence[Scored]) -> dict[str, str]:
    """Return headers with the depth of each answer, for formats without a field for it."""
    if len(scored) > LISTED:
        return {}
    answers = [each.answer for each in scored]
    return {
        "X-Depth": ",".join(str(answer["depth"]) for answer in answers),
        "X-Exit-Reason": ",".join(answer["exit_reason"] for answer in answers),
        "X-Retention": ",".join(f"{answer['retention']:g}" for answer in answers),
        "X-Windows": ",".join(str(answer["windows"]) for answer in answers),
        "X-Tokens": ",".join(str(answer["tokens"]) for answer in answers),
        "X-Truncated": ",".join(str(int(answer["truncated"])) for answer in answers),
    }


def depth_fields(scored: Scored) -> dict[str, object]:
    """Return the depth as fields of one answer, for clients that ignore unknown fields."""
    names = ("depth", "exit_reason", "retention", "windows", "tokens", "truncated")
    return {name: scored.answer[name] for name in names}
