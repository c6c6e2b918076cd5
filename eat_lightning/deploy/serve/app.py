"""The gateway over HTTP: routes that take examples, and routes that speak of the gateway."""

# No postponed annotations: FastAPI reads the types of bodies, which are made for the task.

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from eat_lightning.deploy.serve.access import AccessControl, answer_of
from eat_lightning.deploy.serve.body import (
    Deadline,
    Reload,
    fault_line,
    question_type,
)
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.worker import Answer, Ask, Refused

NDJSON = "application/x-ndjson"
PAGE = (files("eat_lightning.deploy.serve") / "page.html").read_text(encoding="utf-8")
PAGE_HEADERS = {  # the page asks nobody but the gateway itself
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
MEANING = {
    400: "the body is empty, no JSON, or not UTF-8",
    401: "no bearer token, or another one",
    408: "the body did not arrive in time",
    409: "refused; the old run goes on",
    413: "more bytes than the limit",
    415: "another content type than application/json",
    422: "what cannot be taken, and why",
    503: "the queue is full, or the worker died: see Retry-After",
    504: "the deadline passed",
}


class Error(BaseModel):
    error: str


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Error, "description": MEANING[status]} for status in statuses}


POSTED = (400, 401, 408, 413, 415, 422)


def make_app(gateway: Gateway, token: str | None = None) -> FastAPI:
    """All routes of a gateway, behind a door that asks for the token; None: for none."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.stop()

    app = FastAPI(
        title="eat_lightning", lifespan=lifespan, docs_url=None, redoc_url=None, version="1"
    )
    app.add_middleware(
        AccessControl, metrics=gateway.metrics, token=token, max_bytes=gateway.plan.max_bytes
    )
    add_faults(app, gateway.about.columns)
    add_classify(app, gateway)
    add_status(app, gateway)
    return app


def add_faults(app: FastAPI, columns: Sequence[str]) -> None:
    """Answer every refusal in one line, as {"error": ...}."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, UnicodeDecodeError):
            error = Refused(400, "the body is not UTF-8")
        elif error.detail == "Not Found":
            paths = sorted({getattr(route, "path", "/") for route in app.routes})
            error = Refused(404, f"there is no such path, only {', '.join(paths)}")
        return answer_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        fault = error.errors()[0]
        if fault["type"] == "json_invalid":
            return answer_of(Refused(400, f"the body is not JSON: {fault['ctx']['error']}"))
        if fault["type"] == "missing" and len(fault["loc"]) == 1:
            return answer_of(Refused(400, "the body is empty"))
        return answer_of(Refused(422, fault_line(fault, columns)))


def add_classify(app: FastAPI, gateway: Gateway) -> None:
    plan = gateway.plan
    Question = question_type(gateway.about.columns, plan.max_texts, plan.max_chars)

    @app.post("/classify", responses=errors(*POSTED, 503, 504))
    async def classify(
        request: Request,
        question: Annotated[Question, Body()],  # pyright: ignore[reportInvalidTypeForm]
        header_ms: Annotated[Deadline | None, Header(alias="X-Deadline-Ms")] = None,
    ) -> Response:
        """Answers one example, or several: as a list, or line by line as each of them leaves. The
        sooner of two deadlines counts, the header's and the body's."""
        examples = question.found()
        gateway.check_sources(examples)
        given_ms = [ms for ms in (question.deadline_ms, header_ms) if ms is not None]
        asks = gateway.accept(examples, min(given_ms, default=plan.deadline_ms))
        if NDJSON in request.headers.get("accept", ""):
            return await streamed(gateway, asks)
        answers = await whole(gateway, request, asks)
        return JSONResponse({"answers": answers} if hasattr(question, "examples") else answers[0])


def add_status(app: FastAPI, gateway: Gateway) -> None:
    """Routes that speak of the gateway itself."""

    @app.get("/healthz", responses=errors(503))
    async def healthz() -> JSONResponse:
        """200 while requests are taken and answered."""
        state, queue = gateway.state, len(gateway.queue)
        about = {"state": state, "run": gateway.about.name, "queue": queue}
        return JSONResponse(about, 200 if state == "up" else 503)

    @app.get("/metrics", response_class=PlainTextResponse, responses=errors(401))
    async def metrics() -> PlainTextResponse:
        """Counts and distributions in Prometheus' text format."""
        monitors = gateway.monitors
        text = gateway.metrics.text(len(gateway.queue), monitors.state, monitors.began)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    @app.get("/live", responses=errors(401))
    async def live() -> JSONResponse:
        """Return the page's numbers: depth, retention, exit reasons and latency of the last
        answers."""
        return JSONResponse(gateway.live())

    @app.post("/reload", responses=errors(*POSTED, 409))
    async def reload(body: Reload | None = None) -> JSONResponse:
        """Reads the run's folder again, or that of another run beside it."""
        return JSONResponse({"run": await gateway.reload(body and body.run)})

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)


async def whole(gateway: Gateway, request: Request, asks: list[Ask]) -> list[Answer]:
    """All answers in order; Refused where one is missing. A client that hangs up is heard at once,
    and what it asked leaves the queue."""

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


async def streamed(gateway: Gateway, asks: list[Ask]) -> Response:
    """A line for each answer, as it comes. What fails before the first line fails as a whole."""
    answers = gateway.answers(asks)
    first = await anext(answers)
    if isinstance(first[1], Refused):
        await answers.aclose()
        raise first[1]

    async def lines() -> AsyncIterator[str]:
        async with aclosing(answers):
            yield line_of(*first)
            async for place, answer in answers:
                yield line_of(place, answer)

    return StreamingResponse(lines(), media_type=NDJSON)


def line_of(place: int, answer: Answer | Refused) -> str:
    if isinstance(answer, Refused):
        answer = {"error": answer.detail, "status": answer.status_code}
    return json.dumps({"index": place} | answer) + "\n"
