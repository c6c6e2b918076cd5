"""The gateway over HTTP: routes for examples, and routes for the gateway's status."""

# No postponed annotations: FastAPI reads the types of bodies, which are made for the task.

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Annotated, Any, Union

from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from eat_lightning.deploy.serve import dialects, native
from eat_lightning.deploy.serve.access import AccessControl, answer_of
from eat_lightning.deploy.serve.body import Deadline, Error, Name, Reload, errors
from eat_lightning.deploy.serve.call import Call
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.operation import Operation, body_type, of_fault
from eat_lightning.deploy.serve.worker import Refused

HERE = files("eat_lightning.deploy.serve")
PAGE = (HERE / "page.html").read_text(encoding="utf-8")
DEMO = (HERE / "demo.html").read_text(encoding="utf-8")
PAGE_HEADERS = {  # a page asks nobody but the gateway itself
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

POSTED = (400, 401, 408, 413, 415, 422)


def make_app(gateway: Gateway, token: str | None = None) -> FastAPI:
    """Return the app with all routes of a gateway.

    Args:
        token: required of requests; None: no authentication.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.stop()

    paths: set[str] = set()
    app = FastAPI(
        title="eat_lightning", lifespan=lifespan, docs_url=None, redoc_url=None, version="1"
    )
    app.add_middleware(
        AccessControl,
        metrics=gateway.metrics,
        token=token,
        max_bytes=gateway.plan.max_bytes,
        paths=paths,
    )
    operations = operations_of(gateway)
    add_faults(app, operations, partial(native.fault_line, gateway.about.columns))
    for path, each in operations.items():
        add_operations(app, gateway, path, each)
    add_status(app, gateway)
    for module in named(gateway):
        if hasattr(module, "add_status"):
            module.add_status(app, gateway)
    paths |= {getattr(route, "path", "/") for route in app.routes}
    return app


def add_faults(
    app: FastAPI, operations: Mapping[str, list[Operation]], native_fault: Callable[[Any], str]
) -> None:
    """Return every refusal as one line, {"error": ...}."""

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
        here = operations.get(request.url.path)
        if here is None:
            return answer_of(Refused(422, native_fault(fault)))
        dialect = of_fault(here, fault).dialect
        return dialect.refusal(Refused(422, dialect.fault(fault)))


def operations_of(gateway: Gateway) -> dict[str, list[Operation]]:
    """Return the operations of each path, in the order of their dialects."""
    found: dict[str, list[Operation]] = {}
    for operation in [each for module in named(gateway) for each in module.operations(gateway)]:
        found.setdefault(operation.path, []).append(operation)
    return found


def named(gateway: Gateway) -> list[Any]:
    """Return the dialects' modules named in the settings, in the order of `dialects.names`."""
    return [dialects.opened(name) for name in dialects.names() if name in gateway.plan.api]


def add_operations(app: FastAPI, gateway: Gateway, path: str, operations: list[Operation]) -> None:
    """Add one route for all operations of a path, which are distinguished by their bodies."""
    Content = body_type(operations)

    @app.post(path, responses=responses_of(operations), name=path)
    async def answered(
        request: Request,
        content: Annotated[Content, Body()],  # pyright: ignore[reportInvalidTypeForm]
        header_ms: Annotated[Deadline | None, Header(alias="X-Deadline-Ms")] = None,
        source: Annotated[Name | None, Header(alias="X-Source")] = None,
    ) -> Response:
        """Answer in the format of the server whose request it is. Of the deadlines in header and
        body, the earlier one applies.
        """
        operation = next(each for each in operations if isinstance(content, each.body))
        try:
            call = Call(gateway, request, header_ms, source)
            return await operation.answer(call, content)
        except Refused as refused:
            return operation.dialect.refusal(refused)


def responses_of(operations: list[Operation]) -> dict[int | str, dict[str, Any]]:
    """Return the status codes of a path, with the types of their bodies."""
    found = errors(*POSTED) | {200: {"model": either(each.result for each in operations)}}
    statuses = {status for each in operations for status in each.dialect.statuses}
    for status in sorted(statuses):
        those = [each.dialect for each in operations if status in each.dialect.statuses]
        model = either([*(dialect.error for dialect in those), Error])
        found[status] = {"model": model, "description": those[0].statuses[status]}
    return found


def either(types: Iterable[Any]) -> Any:
    return Union[tuple(dict.fromkeys(types))]  # noqa: UP007


def add_status(app: FastAPI, gateway: Gateway) -> None:
    """Add routes for the gateway's status."""

    @app.get("/healthz", responses=errors(503))
    async def healthz() -> JSONResponse:
        """Return 200 while requests are accepted and answered."""
        state, queue = gateway.state, len(gateway.queue)
        about = {"state": state, "run": gateway.about.name, "queue": queue}
        return JSONResponse(about, 200 if state == "up" else 503)

    @app.get("/metrics", response_class=PlainTextResponse, responses=errors(401))
    async def metrics() -> PlainTextResponse:
        """Return counts and distributions in Prometheus' text format."""
        drift = gateway.drift
        text = gateway.metrics.text(len(gateway.queue), drift.state, drift.began)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    @app.get("/live", responses=errors(401))
    async def live() -> JSONResponse:
        """Return the page's numbers: depth, retention, exit reasons and latency of the latest
        answers.
        """
        return JSONResponse(gateway.live())

    @app.post("/reload", responses=errors(*POSTED, 409))
    async def reload(body: Reload | None = None) -> JSONResponse:
        """Reload the run's folder, or load another run beside it."""
        return JSONResponse({"run": await gateway.reload(body and body.run)})

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)

    @app.get("/demo", include_in_schema=False)
    async def demo() -> HTMLResponse:
        return HTMLResponse(DEMO, headers=PAGE_HEADERS)
