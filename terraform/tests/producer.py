"""Sends numbered events to an agent, and each request again until it is answered: sent to run where the
agent can be reached, so that it is one file that needs nothing but Python.

producer.py URL RUN EVENTS SECONDS [TOKEN]: prints one JSON object.
"""

import json
import sys
import time
import urllib.error
import urllib.request

BATCH = 10


def send(url, key, body, token):
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
    if token:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(url + "/v1/events", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status == 200


def main():
    url, run, events, seconds, token = (sys.argv[1:] + [""])[:5]
    events, seconds = int(events), float(seconds)
    batches = events // BATCH
    began = answered = time.monotonic()
    repeats = 0
    longest = 0.0
    for batch in range(batches):
        time.sleep(max(0.0, began + seconds * batch / batches - time.monotonic()))
        lines = (json.dumps({"smoke_run": run, "smoke_id": batch * BATCH + n}) for n in range(BATCH))
        body = "".join(line + "\n" for line in lines).encode()
        asked = time.monotonic()
        while True:
            try:
                if send(url, "%s-%d" % (run, batch), body, token):
                    break
            except urllib.error.HTTPError as error:
                # A wrong token or request does not become right.
                if error.code < 500 and error.code != 429:
                    sys.exit("refused with %d: %s" % (error.code, error.read()[:200]))
            except OSError:
                pass
            repeats += 1
            time.sleep(0.2)
        answered = time.monotonic()
        longest = max(longest, answered - asked)
    took = answered - began
    print(json.dumps({"events": batches * BATCH, "repeats": repeats, "longest_wait_s": round(longest, 1), "took_s": round(took, 1)}))


main()
