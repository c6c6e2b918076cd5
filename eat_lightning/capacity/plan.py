"""Settings of `capacity`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from eat_lightning.config import DataPlan, whole, within
from eat_lightning.serve.loadtest.plan import CAN_PIN
from eat_lightning.serve.plan import GatewayPlan, absent_packages

Balance = Literal["round_robin", "random", "two_choices"]
LEAST = 50  # batches: fewer fit no times


class CapacityPlan(GatewayPlan):
    """rate: requests a second. overhead_ms: of a request beside the model; None is measured.
    check: numbers of replicas that are put under load for comparison."""

    backend: Literal["torch"]  # pyright: ignore[reportIncompatibleVariableOverride]
    rate: Annotated[float | None, within("(0, 10000000]")]
    p99_ms: Annotated[float | None, within("(0, 3600000]")]
    balance: Balance
    most: Annotated[int, whole(1)]
    arrivals: Annotated[int, whole(1000)]
    examples: Annotated[int, whole(10)]
    measured: Annotated[int, whole(LEAST)]
    overhead_ms: Annotated[float | None, within("[0, 10000]")]
    check: list[Annotated[int, whole(1)]]
    level: Annotated[float, within("(0, 1)")]
    seconds: Annotated[float, within("(0, 3600]")]
    core_hour: Annotated[float | None, within("[0, 1000000]")]
    serve: list[str]
    split: str
    data: DataPlan
    seed: Annotated[int, whole(0)]
    to: str
    force: bool

    def rules(self) -> Iterator[str]:
        if self.rate is None:
            yield "rate must say how many requests come in a second"
        if self.p99_ms is None:
            yield "p99_ms must say within how many milliseconds 99 of 100 are to be answered"
        yield from super().rules()
        if self.threads != 1:
            yield f"threads must be 1, got {self.threads}: a replica is for one core"
        if self.overhead_ms is None or self.check:
            yield from absent_packages("capacity")
            if not CAN_PIN:
                yield "overhead_ms must be given, and check be [], where nothing can be pinned"

    @property
    def asked(self) -> tuple[float, float]:
        """Requests a second, and milliseconds for 99 of 100."""
        assert self.rate is not None, "refused by the rules"
        assert self.p99_ms is not None, "refused by the rules"
        return self.rate, self.p99_ms

    def gateway(self, static: bool) -> list[str]:
        """Overrides of `serve` for a replica of this plan."""
        given: dict[str, Any] = {"mode": self.mode, "batch": self.examples_at_once}
        given |= {"wait_ms": self.wait_ms, "queue": self.queue, "deadline_ms": self.deadline_ms}
        given["max_texts"] = 1
        if static:
            exits = ["exit=never"]
        else:
            scalars = {k: v for k, v in self.exit.items() if v is not None and k != "_target_"}
            exits = [f"exit.{key}={value}" for key, value in scalars.items()]
            kind = str(self.exit.get("_target_", "")).rpartition(".")[0].rpartition(".")[2]
            exits = [f"exit={kind}", *exits] if kind else exits
        form = [] if self.prepack is None else [f"prepack={str(self.prepack).lower()}"]
        own = [f"certificate={self.certificate}"] if self.certificate and not static else []
        return [*(f"{k}={v}" for k, v in given.items()), *exits, *form, *own, *self.serve]
