"""Asks the mesh for things at a steady rate for a while, then looks whether what was accepted is there, once.

Usage: load.py URL USERNAME PASSWORD SECONDS RATE. Prints one line of JSON. A request that gets no answer, or 5xx, counts as
failed and is sent again with the same Idempotency-Key until it is accepted, so nothing may be lost and nothing doubled.
"""

import base64
import concurrent.futures
import http.client
import itertools
import json
import sys
import threading
import time
import uuid
from urllib.parse import urlsplit

url, username, password, seconds, rate = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])
address = urlsplit(url)
headers = {
    "Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode(),
    "Content-Type": "application/json",
}
failures, answered, created = {}, 0, []
lock = threading.Lock()


def send(method, path, body=None, extra=None):
    """Status and answer; the status is the error's name when there is none."""
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(method, path, body, {**headers, **(extra or {})})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, b""
    finally:
        connection.close()


def note(method, status):
    global answered
    with lock:
        answered += 1
        if not isinstance(status, int) or status >= 500:
            failures[f"{method} {status}"] = failures.get(f"{method} {status}", 0) + 1


def read():
    note("GET", send("GET", "/api/projects?page_size=10")[0])


def write(deadline):
    key = str(uuid.uuid4())
    while True:
        status, answer = send("POST", "/api/projects", json.dumps({"name": f"load-{key}"}), {"Idempotency-Key": key})
        note("POST", status)
        if status == 201:
            with lock:
                created.append(json.loads(answer)["id"])
            return
        if isinstance(status, int) and status < 500:
            raise SystemExit(f"refused: {status} {answer[:200]}")
        if time.monotonic() > deadline:
            raise SystemExit(f"not accepted in time: {status}")
        time.sleep(0.2)


def events():
    """Contract versions of every project, as analytics has them."""
    found, after = {}, 0
    while after is not None:
        status, answer = send("GET", f"/v1/events?after={after}&limit=500")
        if status != 200:
            raise SystemExit(f"/v1/events: {status} {answer[:200]}")
        page = json.loads(answer)
        for event in page["items"]:
            found.setdefault(event["subject"], []).append(event["streamversion"])
        after = page["next"]
    return found


with concurrent.futures.ThreadPoolExecutor(32) as pool:
    began = time.monotonic()
    work = []
    for step in itertools.count():
        at = began + step / rate
        if at > began + seconds:
            break
        time.sleep(max(0, at - time.monotonic()))
        # One in ten writes.
        work.append(pool.submit(write, began + seconds + 60) if step % 10 == 0 else pool.submit(read))
    for one in work:
        one.result()

names, page = [], 1
while True:
    status, answer = send("GET", f"/api/projects?search=load-&page={page}&page_size=500")
    if status != 200:
        raise SystemExit(f"/api/projects: {status} {answer[:200]}")
    answer = json.loads(answer)
    names += [project["id"] for project in answer["results"]]
    if not answer["next"]:
        break
    page += 1
deadline = time.monotonic() + 60
while True:
    stored = events()
    missing = [id for id in created if f"project/{id}" not in stored]
    if not missing or time.monotonic() > deadline:
        break
    time.sleep(0.5)
odd = [subject for subject, versions in stored.items() if versions != list(range(1, len(versions) + 1))]
result = {
    "requests": answered,
    "failed": failures,
    "accepted": len(created),
    "lost": len(set(created) - set(names)),
    "doubled": len(created) - len(set(created)) + len(names) - len(set(names)),
    "not in analytics": len(missing),
    "streams with a hole or a repetition": len(odd),
}
print(json.dumps(result))
sys.exit(any(result[key] for key in ("lost", "doubled", "not in analytics", "streams with a hole or a repetition")))
