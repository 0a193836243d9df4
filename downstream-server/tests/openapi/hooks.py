"""What schemathesis does not ask: a stream of events that has no end."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.path == "/v1/events":
        case.headers["Accept"] = "application/x-ndjson"
        if str(case.query.get("follow", "")).lower() == "true":
            case.query["follow"] = "false"
