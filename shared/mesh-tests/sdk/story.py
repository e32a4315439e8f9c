"""The first story with the real client, unmodified: cvat-sdk 2.80.

Usage: story.py URL USERNAME PASSWORD. Exits non-zero at the first thing that is not as it should be.
"""

import sys
import time
import uuid
from http import HTTPStatus

from cvat_sdk import make_client, models
from cvat_sdk.api_client import ApiClient, Configuration, exceptions
from cvat_sdk.core.helpers import get_paginated_collection

PASSED = 0


def check(what, condition, seen=None):
    global PASSED
    if not condition:
        sys.exit(f"FAILED: {what}: {seen!r}")
    PASSED += 1
    print(f"  ok  {what}")


def refused(what, status, call):
    try:
        call()
    except exceptions.ApiException as error:
        check(what, error.status == status, (error.status, error.body))
    else:
        check(what, False, "it was accepted")


def organizations(client, slug):
    organization = client.organizations.create(models.OrganizationWriteRequest(slug=slug))
    check("organizations.create", organization.slug == slug and organization.owner.username, organization)
    client.organization_slug = slug
    renamed = organization.update(models.PatchedOrganizationWriteRequest(name="Wonderland"))
    check("organization.update", renamed.name == "Wonderland", renamed)
    listed = [o.slug for o in client.organizations.list()]
    check("organizations.list", slug in listed, listed)
    refused(
        "a slug that is taken is refused",
        HTTPStatus.BAD_REQUEST,
        lambda: client.organizations.create(models.OrganizationWriteRequest(slug=slug)),
    )
    return organization


def labels():
    return [
        models.PatchedLabelRequest(name="car", color="#2080c0"),
        models.PatchedLabelRequest(
            name="tree",
            attributes=[
                models.AttributeRequest(
                    name="kind", mutable=False, input_type="select", values=["oak", "elm"], default_value="oak"
                )
            ],
        ),
    ]


def projects(client, organization):
    project = client.projects.create(models.ProjectWriteRequest(name="streets of Wonderland", labels=labels()))
    check("projects.create", project.organization_id == organization.id, project)
    names = sorted(label.name for label in project.get_labels())
    check("project.get_labels", names == ["car", "tree"], names)
    changed = project.update(
        models.PatchedProjectWriteRequest(
            name="roads of Wonderland", labels=[models.PatchedLabelRequest(name="bus")]
        )
    )
    check("project.update", changed.name == "roads of Wonderland", changed)
    check("a label was added", len(project.get_labels()) == 3, project.get_labels())
    fetched = client.projects.retrieve(project.id)
    check("projects.retrieve", fetched.updated_date >= fetched.created_date, fetched)
    return project


def lists(client):
    made = [
        client.projects.create(models.ProjectWriteRequest(name=f"lot {number:02}", labels=[]))
        for number in range(12)
    ]
    ids = [project.id for project in made]
    check("a list is paged to its end", set(ids) <= {p.id for p in client.projects.list()}, ids)
    api = client.api_client.projects_api
    page, _ = api.list(page_size=5, page=2, sort="name", search="lot")
    check("page, sort and search", [p.name for p in page.results] == [f"lot {n:02}" for n in range(5, 10)], page)
    check("count, next, previous", page.count == 12 and page.next and page.previous, page)
    page, _ = api.list(filter='{"and":[{"in":["lot 0",{"var":"name"}]},{"!":{"==":[{"var":"id"},%d]}}]}' % ids[0])
    check("filter", page.count == 9, page)
    page, _ = api.list(owner=client.users.retrieve_current_user().username, name="lot 03")
    check("simple filters", page.count == 1, page)
    refused("an unknown term is refused", 400, lambda: api.list(filter='{"==":[{"var":"nothing"},1]}'))
    refused("a page that is not there is refused", 404, lambda: api.list(page=99))
    client.projects.remove_by_ids(ids)
    page, _ = api.list(search="lot")
    check("projects.remove_by_ids", page.count == 0, page)


def other_credentials(url, username, password, slug):
    with ApiClient(Configuration(host=url, username=username, password=password)) as basic:
        me, _ = basic.users_api.retrieve_self()
        check("access by Basic", me.username == username, me)
        token, _ = basic.auth_api.create_login(
            models.LoginSerializerExRequest(username=username, password=password)
        )
    configuration = Configuration(host=url)
    with ApiClient(configuration) as by_token:
        by_token.set_default_header("Authorization", f"Token {token.key}")
        me, _ = by_token.users_api.retrieve_self()
        check("access by Token", me.username == username, me)
        found = get_paginated_collection(by_token.projects_api.list_endpoint, org=slug)
        check("a list in an organization by Token", isinstance(found, list), found)
        by_token.auth_api.create_logout()
        refused("a Token is dead after logout", 401, lambda: by_token.users_api.retrieve_self())


def main(url, username, password):
    slug = f"w{uuid.uuid4().hex[:10]}"
    with make_client(url, credentials=(username, password)) as client:
        check("make_client and login", client.users.retrieve_current_user().username == username)
        organization = organizations(client, slug)
        project = projects(client, organization)
        lists(client)
        other_credentials(url, username, password, slug)
        project.remove()
        refused("a removed project is gone", 404, lambda: client.projects.retrieve(project.id))
        client.organization_slug = None
        organization.remove()
        client.logout()
    refused("nobody may list", 401, lambda: ApiClient(Configuration(host=url)).projects_api.list())
    print(f"{PASSED} passed, 0 failed")


if __name__ == "__main__":
    began = time.monotonic()
    main(*sys.argv[1:4])
    print(f"the story took {time.monotonic() - began:.1f} s")
