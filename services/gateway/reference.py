"""The API's page at /docs: the OpenAPI document as plain HTML.

No script and nothing from another host: the page works offline, and needs no exception in the security headers but one
for its own style sheet.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
article { border-top: 1px solid #d5dae1; padding: .5rem 0 1rem }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #f3f5f8; border-radius: 4px; padding: .1rem .3rem }
pre { padding: .8rem; overflow-x: auto; white-space: pre-wrap }
table { border-collapse: collapse } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }
"""


def install(app: FastAPI) -> None:
    """Serves the page."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return HTMLResponse(page(app.openapi()), headers=headers)


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    title = escape(document["info"]["title"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} API</title><style>{STYLE}</style></head><body>
<h1>{title} API</h1>{_prose(document["info"]["description"])}
<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>
{"".join(_section(document, tag) for tag in document["tags"])}
</body></html>"""


def _section(document: Mapping[str, Any], tag: Mapping[str, str]) -> str:
    articles = "".join(
        _article(document, method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    )
    return f"<h2>{escape(tag['name'])}</h2>{_prose(tag['description'])}{articles}"


def _article(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = "".join(_parameter(parameter) for parameter in operation.get("parameters", []))
    answers = "".join(
        f"<tr><td><code>{status}</code></td><td>{_inline(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return f"""<article id="{escape(operation["operationId"])}">
<h3><code>{method.upper()} {escape(path)}</code></h3>
<p><strong>{escape(operation["summary"])}.</strong></p>{_prose(operation.get("description", ""))}
{f"<table>{parameters}</table>" if parameters else ""}{_example(document, operation)}
<details><summary>Answers</summary><table>{answers}</table></details></article>"""


def _parameter(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    bounds = ", ".join(
        f"{name} {schema[name]}"
        for name in ("minimum", "maximum", "minLength", "maxLength", "default")
        if name in schema
    )
    described = _inline(parameter.get("description", schema.get("description", "")))
    name = f"<code>{escape(parameter['name'])}</code>"
    return f"<tr><td>{name}</td><td>{parameter['in']}</td><td>{described}</td><td>{escape(bounds)}</td></tr>"


def _example(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """The body's first example, where its schema has one."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return ""
    schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    examples = schema.get("examples", [])
    return "".join(f"<pre>{escape(json.dumps(example, indent=2))}</pre>" for example in examples[:1])


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _inline(text: str) -> str:
    """Markdown's `code`; the rest is text."""
    return "".join(_alternating(escape(text).split("`")))


def _alternating(parts: list[str]) -> Iterator[str]:
    for index, part in enumerate(parts):
        yield f"<code>{part}</code>" if index % 2 else part
