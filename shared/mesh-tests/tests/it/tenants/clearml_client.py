"""Signs in with ClearML's own client and calls what it can of this mesh."""

import os

from clearml.backend_api import Session
from clearml.backend_api.session.client import APIClient

client = APIClient()
session = client.session
assert session.token, "no token"
assert Session.api_version == "2.34" or Session.api_version, Session.api_version


def call(service, action, **body):
    answer = session.send_request(service, action, json=body)
    assert answer.status_code == 200, (service, action, answer.text)
    return answer.json()["data"]


me = call("users", "get_current_user")["user"]
assert me["company"]["id"] == os.environ["COMPANY"], me
assert me["role"] == "admin", me
made = call("auth", "create_credentials", label="made by the client")["credentials"]
assert client.auth.edit_credentials(access_key=made["access_key"], label="renamed").updated == 1
labels = [key["label"] for key in call("auth", "get_credentials")["credentials"]]
assert labels[-1] == "renamed", labels
assert client.auth.login(), "no second token"
refused = session.send_request("queues", "get_all", json={})
assert refused.status_code == 404 and refused.json()["meta"]["result_code"] == 404, refused.text
print("all is well with", Session.api_version)
