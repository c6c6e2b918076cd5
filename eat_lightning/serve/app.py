"""The gateway over HTTP: a route for each thing one may ask of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)

from eat_lightning.serve.gateway import Gateway
from eat_lightning.serve.guard import Counted, Guard, body_of, must_be_json
from eat_lightning.serve.page import PAGE, PAGE_HEADERS
from eat_lightning.serve.question import deadline_of
from eat_lightning.serve.refused import Refused
from eat_lightning.serve.schema import CLASSIFY, JOB, JOBS, RELOAD, body_schema, reload_schema
from eat_lightning.serve.waiting import Ask

NDJSON = "application/x-ndjson"
PATHS = frozenset({"/", "/classify", "/healthz", "/metrics", "/live", "/reload", "/jobs", "/jobs/"})


def make_app(gateway: Gateway, token: str | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.stop()

    app = FastAPI(
        title="eat_lightning", lifespan=lifespan, docs_url=None, redoc_url=None, version="1"
    )
    app.add_middleware(Counted, gateway=gateway, paths=PATHS)
    app.add_exception_handler(Refused, refused)
    for status in (404, 405):
        app.add_exception_handler(status, not_found)
    guarded = [Depends(Guard(token))]

    @app.post(
        "/classify",
        dependencies=guarded,
        responses=CLASSIFY,
        openapi_extra=body_schema(gateway.about.columns, gateway.limits),
    )
    async def classify(request: Request) -> Response:
        """Answers one example, or several: as a list, or line by line as each of them leaves."""
        must_be_json(request)
        question = gateway.read(await body_of(request, gateway.config["max_bytes"]))
        asks = gateway.accept(question.examples, deadline_ms(request, question.deadline_ms))
        if NDJSON in request.headers.get("accept", ""):
            return await streamed(gateway, asks)
        answers = await whole(gateway, request, asks)
        return JSONResponse({"answers": answers} if question.many else answers[0])

    def deadline_ms(request: Request, asked_ms: float | None) -> float:
        """The sooner of the header's and the body's, else the gateway's own."""
        header = request.headers.get("x-deadline-ms")
        told = None if header is None else number_or_text(header)
        told_ms = deadline_of(told, "X-Deadline-Ms")
        given = [ms for ms in (asked_ms, told_ms) if ms is not None]
        return min(given, default=gateway.config["deadline_ms"])

    if gateway.journal is not None:
        add_jobs(app, gateway, guarded)

    @app.get("/healthz", responses={503: CLASSIFY[503]})
    async def healthz() -> JSONResponse:
        """200 while requests are taken and answered."""
        state = gateway.state
        about = {"state": state, "run": gateway.about.name, "queue": len(gateway.waiting)}
        return JSONResponse(about, 200 if state == "up" else 503)

    @app.get(
        "/metrics",
        dependencies=guarded,
        response_class=PlainTextResponse,
        responses={401: CLASSIFY[401]},
    )
    async def metrics() -> Response:
        """Counts and distributions in Prometheus' text format."""
        text = gateway.meters.text(len(gateway.waiting), gateway.worker.deaths)
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.get("/live", dependencies=guarded, responses={401: CLASSIFY[401]})
    async def live() -> JSONResponse:
        """What the page shows: the last answers' depth, retention, exit reasons and latency."""
        return JSONResponse(gateway.live())

    @app.post("/reload", dependencies=guarded, responses=RELOAD, openapi_extra=reload_schema())
    async def reload(request: Request) -> JSONResponse:
        """Reads the run's folder again, or that of another run beside it."""
        must_be_json(request)
        name = run_name(await body_of(request, gateway.config["max_bytes"]))
        return JSONResponse({"run": await gateway.reload(name)})

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)

    return app


def add_jobs(app: FastAPI, gateway: Gateway, guarded: list[Any]) -> None:
    """Routes of the journal."""

    @app.post(
        "/jobs",
        status_code=202,
        dependencies=guarded,
        responses=JOBS,
        openapi_extra=body_schema(gateway.about.columns, gateway.limits, deadline=False),
    )
    async def post(request: Request) -> JSONResponse:
        """Accepts examples: once it says so they are on the disk, and will be answered."""
        must_be_json(request)
        question = gateway.read(await body_of(request, gateway.config["max_bytes"]))
        if question.deadline_ms is not None:
            raise Refused(422, "deadline_ms: a job has none")
        assert gateway.jobs is not None
        id = await gateway.jobs.post(question.examples)
        return JSONResponse({"id": id}, 202, {"Location": f"/jobs/{id}"})

    @app.get("/jobs/{id}", dependencies=guarded, responses=JOB)
    async def get(id: str) -> JSONResponse:
        """A job's answers, in the order of its examples, or that it waits."""
        assert gateway.jobs is not None
        answers = await gateway.jobs.find(id)
        state = "waiting" if answers is None else "done"
        return JSONResponse({"id": id, "state": state, "answers": answers})


def number_or_text(header: str) -> float | str:
    try:
        return float(header)
    except ValueError:
        return header


async def refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.reason}, error.status, error.headers)


async def not_found(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def whole(gateway: Gateway, request: Request, asks: list[Ask]) -> list[dict[str, Any]]:
    """All answers in order; Refused where one is missing. A client that hangs up is heard at once,
    and what it asked leaves the queue."""
    found: list[dict[str, Any]] = [{}] * len(asks)

    async def gathered() -> None:
        async with aclosing(gateway.answers(asks)) as answers:
            async for place, answer in answers:
                if isinstance(answer, Refused):
                    raise answer
                found[place] = answer

    reading = asyncio.ensure_future(gathered())
    gone = asyncio.ensure_future(request.receive())  # after the body, the only message: hung up
    try:
        await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise Refused(499, "the client hung up")
        reading.result()
    finally:
        gone.cancel()
        reading.cancel()
        gateway.give_up([ask for ask in asks if not ask.future.done()])
    return found


async def streamed(gateway: Gateway, asks: list[Ask]) -> Response:
    """A line for each answer, as it comes. What fails before the first line fails as a whole."""
    answers = gateway.answers(asks)
    place, answer = await anext(answers)
    if isinstance(answer, Refused):
        await answers.aclose()
        raise answer

    async def lines() -> AsyncIterator[str]:
        async with aclosing(answers):
            yield line_of(place, answer)
            async for other, following in answers:
                yield line_of(other, following)

    return StreamingResponse(lines(), media_type=NDJSON)


def line_of(place: int, answer: dict[str, Any] | Refused) -> str:
    if isinstance(answer, Refused):
        answer = {"error": answer.reason, "status": answer.status}
    return json.dumps({"index": place} | answer) + "\n"


def run_name(body: bytes) -> str | None:
    """A plain name: a path would let a client have any folder's code run."""
    if not body.strip():
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(content, dict) or content.keys() - {"run"}:
        raise Refused(422, 'the body must be {} or {"run": name}')
    name = content.get("run")
    plain = isinstance(name, str) and name not in ("", ".", "..") and len(name) <= 255
    if name is not None and not (plain and not {"/", "\\", "\0"} & set(name)):
        raise Refused(422, f"run must be the name of a run beside this one, got {name!r:.60}")
    return name
