"""What became of a run's events, told where the server is: sent to run there.

delivered.py SERVER_URL FILE RUN: prints one JSON object.
"""

import collections
import json
import re
import sys
import urllib.request


def main():
    url, path, run = sys.argv[1:]
    seen = collections.Counter()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if run in line:
                    seen.update(int(number) for number in re.findall(r'smoke_id\\?": ?(\d+)', line))
    except FileNotFoundError:
        pass
    with urllib.request.urlopen(url + "/v1/continuity", timeout=30) as answer:
        sinks = json.load(answer)["sinks"]
    broken = [sink for sink in sinks if sink["missing_cuts"] or sink["forked_cuts"] or not sink["adds_up"]]
    print(json.dumps({"distinct": len(seen), "doubled": sum(count > 1 for count in seen.values()), "cuts": sum(sink["done"] for sink in sinks), "broken": broken}))


main()
