"""What Schemathesis must be told of Rolecall: who calls, and how lines of JSON are written."""

import json
import os
import uuid

import requests
import schemathesis

URL = os.environ["ROLECALL_COMMAND_URL"]
PASSWORD = "correct horse battery staple"
ADMINISTRATOR = os.environ["ADMINISTRATOR_TOKEN"]
# Operations that may end the session or the account of whom they are about: each request is about somebody new, and by
# themself if they may. All others are by one administrator.
ENDING = {
    "change_profile",
    "deactivate",
    "erase",
    "revoke",
    "revoke_session",
    "revoke_sessions",
}


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    if isinstance(value, bytes):
        return {"data": value}
    return {"data": json.dumps(value).encode()}


def post(path, body):
    answer = requests.post(URL + path, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def somebody_new():
    name = f"somebody-{uuid.uuid4()}"
    registration = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    registered = post("/v1/users", registration)
    session = post("/v1/sessions", {"username": name, "password": PASSWORD})
    return {**registered, **session}


@schemathesis.auth(refresh_interval=None)
class Callers:
    def get(self, case, context):
        if case.operation.definition.raw.get("operationId") in ENDING:
            return somebody_new()
        return {"access_token": ADMINISTRATOR}

    def set(self, case, data, context):
        by_administrator = case.operation.definition.raw.get("operationId") == "deactivate"
        token = ADMINISTRATOR if by_administrator else data["access_token"]
        case.headers["Authorization"] = f"Bearer {token}"
        if "user_id" not in data:
            return
        theirs = data["session_id"] if case.path.startswith("/v1/sessions") else data["user_id"]
        if is_uuid((case.path_parameters or {}).get("id")):
            case.path_parameters["id"] = theirs
        for name, right in [("token", data["refresh_token"]), ("current_password", PASSWORD)]:
            if isinstance(case.body, dict) and isinstance(case.body.get(name), str):
                case.body[name] = right


def is_uuid(text):
    try:
        return bool(uuid.UUID(text))
    except (TypeError, ValueError, AttributeError):
        return False
