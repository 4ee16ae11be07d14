"""What operations are put together from: kinds of values, parameters, answers and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
EPOCH: Schema = {"type": "integer", "description": "Seconds since 1970."}
TEXTS: Schema = {"type": "array", "items": TEXT}
NOTHING: Schema = {"type": "null"}

#: What a database cannot hold does not come in.
NAME: Schema = {"type": "string", "maxLength": 255, "pattern": "^[^\\u0000]*$"}

#: By the grammar of the OCI distribution specification.
PATH: Schema = {
    "type": "string",
    "maxLength": 255,
    "pattern": "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*$",
    "examples": ["team/app"],
}
TAG: Schema = {"type": "string", "pattern": "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$", "examples": ["v1"]}
DIGEST: Schema = {
    "type": "string",
    "pattern": "^(sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})$",
    "examples": ["sha256:" + "0" * 64],
}


def or_null(schema: Schema) -> Schema:
    """The same, or nothing."""
    if "$ref" in schema:
        return {"anyOf": [schema, NOTHING]}
    return {**schema, "type": [schema["type"], "null"]}


def told(schema: Schema, text: str) -> Schema:
    """The same, explained."""
    return {**schema, "description": text}


def named(schema: str) -> Schema:
    """One of the document's schemas."""
    return {"$ref": f"#/components/schemas/{schema}"}


def record(description: str, /, **members: Schema) -> Schema:
    """An object with all of these members, always, and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def listing(items: Schema) -> Schema:
    return {"type": "array", "items": items}


#: As it is answered: registries may have digests of other kinds than we compute.
ANY_DIGEST: Schema = or_null(told(TEXT, "A digest."))

PROBLEM_MEMBERS: dict[str, Schema] = {
    "type": told(TEXT, "`about:blank`: the status says what kind it is."),
    "status": COUNT,
    "title": TEXT,
    "detail": told(TEXT, "What is wrong, and what would do."),
}


# --- parameters -------------------------------------------------------------------------------------------------------


def query(name: str, schema: Schema, description: str, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def number_of(name: str, what: str) -> Schema:
    """A number in the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"The number of {what}.",
        "schema": {"type": "integer", "minimum": 0},
    }


PAGING: list[Schema] = [
    query("after", {"type": "string", "format": "cursor"}, "The cursor in the `Link` header of the page before."),
    query(
        "per_page",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": 20},
        "Rows in a page; more than 100 give 100.",
    ),
]

# --- answers ----------------------------------------------------------------------------------------------------------

PROBLEM: dict[str, Any] = {"application/problem+json": {"schema": named("Problem")}}

#: Told by every answer to the admin token.
_RATE = {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit-Limit", "RateLimit-Remaining")}
_RATE |= {"RateLimit-Reset": {"$ref": "#/components/headers/RateLimit-Reset"}}

HEADERS: dict[str, Any] = {
    "RateLimit-Limit": {"description": "Requests that this address may make in a minute.", "schema": COUNT},
    "RateLimit-Remaining": {"description": "Of those, how many are left.", "schema": COUNT},
    "RateLimit-Reset": {"description": "Seconds until the whole number may be made again.", "schema": COUNT},
    "Retry-After": {"description": "Seconds until it may be tried again.", "schema": COUNT},
    "Link": {"description": 'The next page: `<…>; rel="next"`. None follows where it is missing.', "schema": TEXT},
    "WWW-Authenticate": {"description": "How to say who you are.", "schema": TEXT},
}


def header(name: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"}}


def answer(description: str, schema: Schema, *, headers: Iterable[str] = (), kind: str = "application/json") -> Schema:
    told_by = {each: {"$ref": f"#/components/headers/{each}"} for each in headers}
    made: Schema = {"description": description, "content": {kind: {"schema": schema}}}
    return {**made, "headers": told_by} if told_by else made


def page_of(schema: str, description: str) -> Schema:
    return answer(description, listing(named(schema)), headers=["Link"])


def _refusal(description: str, *headers: str) -> Schema:
    made: Schema = {"description": description, "content": PROBLEM}
    told_by: dict[str, Any] = {}
    for each in headers:
        told_by |= header(each)
    return {**made, "headers": told_by} if told_by else made


REFUSALS: dict[str, Any] = {
    "400": _refusal("A parameter says what cannot be meant; the detail says which."),
    "401": _refusal("No token, or a wrong one.", "WWW-Authenticate"),
    "403": _refusal("The API is closed: no admin token is set."),
    "404": _refusal("There is no such thing."),
    "408": _refusal("What only the body could prove was not there in time."),
    "409": _refusal("It cannot be done as things are; the detail says why."),
    "413": _refusal("The body is too large."),
    "415": _refusal("This request takes no body."),
    "429": _refusal("Too many requests, or too many wrong tokens, from this address.", "Retry-After"),
    "501": _refusal("This deployment cannot do that; the detail says what it lacks."),
    "502": _refusal("The primary registry did not answer as it should."),
    "503": _refusal("The database cannot be used now, or there is no room for this request.", "Retry-After"),
}


def refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


SECURITY: dict[str, Any] = {
    "adminToken": {
        "type": "apiKey",
        "in": "header",
        "name": "PRIVATE-TOKEN",
        "description": "The admin token, as GitLab's clients send theirs.",
    },
    "adminBearer": {"type": "http", "scheme": "bearer", "description": "The admin token (`GEO_ADMIN_TOKEN`)."},
    "siteToken": {"type": "http", "scheme": "bearer", "description": "What `geo sites token NAME` made."},
    "sitePassword": {
        "type": "http",
        "scheme": "basic",
        "description": "The site's name as user, its token as password.",
    },
    "notificationSecret": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The notification secret: raw, as `Bearer`, or as the password of `Basic`.",
    },
}

#: What scripts have.
ADMIN: list[dict[str, list[str]]] = [{"adminToken": []}, {"adminBearer": []}]


def operation(
    name: str,
    summary: str,
    tag: str,
    answers: Mapping[int, Schema],
    *refused: int,
    parameters: Iterable[Schema] = (),
    description: str = "",
    security: list[dict[str, list[str]]] | None = None,
    body: Schema | None = None,
) -> Schema:
    """An operation. `answers` are described here, `refused` are those of the document's refusals that it may give."""
    made: Schema = {"operationId": name, "summary": summary, "tags": [tag]}
    if description:
        made["description"] = description
    if parameters:
        made["parameters"] = list(parameters)
    if body is not None:
        made["requestBody"] = body
    made["responses"] = {**{str(status): each for status, each in answers.items()}, **refusals(*refused)}
    made["security"] = security if security is not None else []
    return made


def for_scripts(name: str, summary: str, tag: str, answers: Mapping[int, Schema], *refused: int, **more: Any) -> Schema:
    """An operation that the admin token opens: its answers tell how many requests are left."""
    counted = {status: {**each, "headers": {**_RATE, **each.get("headers", {})}} for status, each in answers.items()}
    return operation(name, summary, tag, counted, *sorted({*refused, 401, 403, 429, 503}), security=ADMIN, **more)
