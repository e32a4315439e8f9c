"""Asks every service of the mesh for things at a steady rate for a while, then looks whether what was accepted is there, once.

Usage: load.py URL USERNAME PASSWORD SECONDS RATE [strict]. Prints one line of JSON. A request that gets no answer, or 5xx,
counts as failed, which `strict` does not forgive. A change is then sent again with the same Idempotency-Key until it is
accepted, so nothing may be lost and nothing doubled; each project has a name of its own, by which a double would be seen.
"""

import base64
import concurrent.futures
import http.client
import itertools
import json
import struct
import sys
import threading
import time
import uuid
import zlib
from urllib.parse import urlsplit

url, username, password, seconds, rate = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])
address = urlsplit(url)
basic = {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}
as_json = {"Content-Type": "application/json"}
failures, answered, slowest, created = {}, 0, 0.0, []
lock = threading.Lock()


def send(method, path, body=None, headers={}):
    """Status and answer; the status is the error's name when there is none."""
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        connection.request(method, path, body, {**basic, **headers})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, b""
    finally:
        connection.close()


def must(method, path, body=None, headers=as_json):
    status, answer = send(method, path, body, headers)
    if not isinstance(status, int) or status >= 300:
        raise SystemExit(f"{method} {path}: {status} {answer[:200]}")
    return json.loads(answer or b"null")


def is_answer(status, answer):
    """Whether a service answered; a Traefik that has just started knows no routes, and says 404 in plain text."""
    return isinstance(status, int) and status < 500 and answer != b"404 page not found\n"


def counted(method, path, *more):
    global answered, slowest
    began = time.monotonic()
    status, answer = send(method, path, *more)
    with lock:
        answered += 1
        slowest = max(slowest, time.monotonic() - began)
        if not is_answer(status, answer):
            what = f"{method} {path.split('?')[0]}: {status} {answer[:80].decode(errors='replace')}"
            failures[what] = failures.get(what, 0) + 1
    return status, answer


def picture():
    """A small grey PNG."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", 64, 48, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes([line * 5] * 64) for line in range(48)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def a_job():
    """The id of a job with one picture."""
    task = must("POST", "/api/tasks", json.dumps({"name": "load", "labels": [{"name": "car"}]}))["id"]
    edge = uuid.uuid4().hex
    part = lambda head, data: f"--{edge}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
    body = part('name="image_quality"', b"70") + part('name="client_files[0]"; filename="grey.png"', picture())
    form = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    request = must("POST", f"/api/tasks/{task}/data", body + f"--{edge}--\r\n".encode(), form)["rq_id"]
    for _ in range(600):
        state = must("GET", f"/api/requests/{request}")
        if state["status"] == "finished":
            return must("GET", f"/api/jobs?task_id={task}")["results"][0]["id"]
        if state["status"] == "failed":
            raise SystemExit(state["message"])
        time.sleep(0.1)
    raise SystemExit("the picture was not imported")


def write(deadline):
    key = str(uuid.uuid4())
    headers = {**as_json, "Idempotency-Key": key}
    while True:
        status, answer = counted("POST", "/api/projects", json.dumps({"name": f"load-{key}"}), headers)
        if status == 201:
            with lock:
                created.append(json.loads(answer)["id"])
            return
        if is_answer(status, answer):
            raise SystemExit(f"refused: {status} {answer[:200]}")
        if time.monotonic() > deadline:
            raise SystemExit(f"not accepted in time: {status}")
        time.sleep(0.2)


def events():
    """Contract versions of every project, as analytics has them."""
    found, after = {}, 0
    while after is not None:
        page = must("GET", f"/v1/events?after={after}&limit=500")
        for event in page["items"]:
            found.setdefault(event["subject"], []).append(event["streamversion"])
        after = page["next"]
    return found


job = a_job()
reads = itertools.cycle([
    "/api/projects?page_size=10",
    f"/api/jobs/{job}/data?type=frame&number=0&quality=compressed",
    "/api/users/self",
    "/v1/usage",
    "/api/webhooks",
    "/api/tasks?page_size=10",
    "/v1/events?limit=1",
    "/api/server/about",
])
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    began = time.monotonic()
    work = []
    for step in itertools.count():
        at = began + step / rate
        if at > began + seconds:
            break
        time.sleep(max(0, at - time.monotonic()))
        # One in ten writes.
        work.append(pool.submit(write, began + seconds + 60) if step % 10 == 0 else pool.submit(counted, "GET", next(reads)))
    for one in work:
        one.result()
    lasted = time.monotonic() - began

ids, names, page = set(), [], 1
while True:
    answer = must("GET", f"/api/projects?search=load-&page={page}&page_size=500")
    ids |= {project["id"] for project in answer["results"]}
    names += [project["name"] for project in answer["results"]]
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
    "per second": round(answered / lasted),
    "slowest, s": round(slowest, 1),
    "failed": failures,
    "accepted": len(created),
    "lost": len(set(created) - ids),
    "doubled": len(created) - len(set(created)) + len(names) - len(set(names)),
    "not in analytics": len(missing),
    "streams with a hole or a repetition": len(odd),
}
print(json.dumps(result))
wrong = ["lost", "doubled", "not in analytics", "streams with a hole or a repetition"]
if "strict" in sys.argv[6:]:
    wrong.append("failed")
sys.exit(any(result[key] for key in wrong))
