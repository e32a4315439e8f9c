"""The first task with the real clients, unmodified: cvat-sdk and cvat-cli 2.80. Pictures in, jobs, annotations, out.

Usage: first_task.py URL USERNAME PASSWORD. Exits non-zero at the first thing that is not as it should be.
"""

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from cvat_sdk import make_client, models
from cvat_sdk.core.proxies.tasks import ResourceType
from PIL import Image

import story
from story import check, refused

FORMATS = (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"))


def draw(folder):
    """Nine pictures, three of each kind, no two alike."""
    paths = []
    for index in range(3):
        for suffix, name in FORMATS:
            path = folder / f"scene{index}.{suffix}"
            Image.effect_noise((320 + index, 200), 60 + index).convert("RGB").save(path, name)
            paths.append(path)
    return paths


def pictures(client, project, folder, paths):
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="crossings", project_id=project.id, segment_size=4, overlap=1),
        paths,
        resource_type=ResourceType.LOCAL,
        data_params={"image_quality": 60, "sorting_method": "natural"},
    )
    check("tasks.create_from_data", (task.size, task.mode) == (9, "annotation"), task)
    ranges = sorted((job.start_frame, job.stop_frame) for job in task.get_jobs())
    check("jobs by segment_size and overlap", ranges == [(0, 3), (3, 6), (6, 8)], ranges)
    names = [frame.name for frame in task.get_frames_info()]
    check("get_frames_info", sorted(names) == sorted(path.name for path in paths), names)
    meta = task.get_meta()
    check("get_meta", (meta.size, meta.image_quality, meta.deleted_frames) == (9, 60, []), meta)
    same = all(
        task.get_frame(index, quality="original").read() == (folder / name).read_bytes()
        for index, name in enumerate(names)
    )
    check("original frames are the bytes that were uploaded", same)
    sizes = [Image.open(task.get_frame(index, quality="compressed")).size for index in range(len(names))]
    check("compressed frames are pictures of the same size", all(size[1] == 200 for size in sizes), sizes)
    for quality in ("original", "compressed"):
        chunk = io.BytesIO()
        task.download_chunk(0, chunk, quality=quality)
        with zipfile.ZipFile(chunk) as archive:
            check(f"download_chunk, {quality}", archive.testzip() is None and len(archive.namelist()) == 9, archive)
    check("get_preview", max(Image.open(task.get_preview()).size) <= 256)
    task.download_frames([0, 1, 2], outdir=folder / "out")
    check("download_frames", len(list((folder / "out").iterdir())) == 3)
    return task


def annotations(task):
    job = min(task.get_jobs(), key=lambda job: job.start_frame)
    label = task.get_labels()[0].id
    shapes = [
        ("rectangle", [1, 2, 30, 40]),
        ("polygon", [1, 1, 20, 1, 20, 20]),
        ("polyline", [1, 1, 9, 9]),
        ("points", [5, 5]),
        ("ellipse", [50, 50, 60, 40]),
        ("mask", [0, 4, 10, 10, 11, 11]),
    ]
    shaped = [
        models.LabeledShapeRequest(type=name, frame=0, label_id=label, points=[float(p) for p in points], occluded=False)
        for name, points in shapes
    ]
    tag = models.LabeledImageRequest(frame=1, label_id=label)
    track = models.LabeledTrackRequest(
        frame=0,
        label_id=label,
        shapes=[
            models.TrackedShapeRequest(type="rectangle", frame=frame, points=[1.0 + frame, 1.0, 9.0, 9.0], outside=False)
            for frame in (0, 2)
        ],
    )
    job.set_annotations(models.LabeledDataRequest(shapes=shaped, tags=[tag], tracks=[track]))
    held = job.get_annotations()
    check("set_annotations, get_annotations", (len(held.shapes), len(held.tags), len(held.tracks)) == (6, 1, 1), held)
    types = {shape.type.value for shape in held.shapes}
    check("every type of shape", types == {name for name, _ in shapes}, types)
    job.update_annotations(
        models.PatchedLabeledDataRequest(shapes=shaped[:1]), action=models_action("create")
    )
    check("update_annotations", len(job.get_annotations().shapes) == 7)
    job.remove_annotations(ids=[held.shapes[0].id])
    check("remove_annotations by id", len(job.get_annotations().shapes) == 6)
    check("a task has its jobs' annotations", len(task.get_annotations().shapes) == 6, task.get_annotations())
    first = job
    for job in task.get_jobs():
        job.update(models.PatchedJobWriteRequest(stage="acceptance", state="completed"))
    task.fetch()
    check("job.update, and the status that the task derives", str(task.status) == "completed", task.status)
    check("how many jobs are completed", task.jobs.completed == 3, task.jobs)
    first.remove_annotations()
    check("remove_annotations", first.get_annotations().shapes == [])


def models_action(name):
    from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction

    return AnnotationUpdateAction(name)


def ends(client, task, folder):
    task.remove_frames_by_ids([1])
    check("remove_frames_by_ids", task.get_meta().deleted_frames == [1], task.get_meta().deleted_frames)
    task.remove()
    refused("a removed task is gone", 404, lambda: client.tasks.retrieve(task.id))
    broken = folder / "broken.jpg"
    broken.write_bytes((folder / "scene0.jpg").read_bytes()[:3000])
    try:
        client.tasks.create_from_data(
            models.TaskWriteRequest(name="broken", labels=[models.PatchedLabelRequest(name="car")]), [broken]
        )
        check("a truncated picture is refused", False, "it was accepted")
    except Exception as error:  # whatever the client makes of it: the text counts
        check("a truncated picture is refused by its name", "broken.jpg" in str(error), error)


def command_line(url, username, password, folder, paths):
    at = urlsplit(url)

    def cli(*arguments):
        words = [Path(sys.executable).parent / "cvat-cli", "--auth", f"{username}:{password}"]
        words += ["--server-host", f"{at.scheme}://{at.hostname}", "--server-port", str(at.port), "task", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        check(f"cvat-cli task {arguments[0]}", done.returncode == 0, done.stderr[-2000:])
        return done.stdout

    made = cli(
        "create", "by hand", "--labels", '[{"name": "car"}]', "--completion_verification_period", "0.2",
        "local", *map(str, paths[:2]),
    )  # fmt: skip
    task = next(word for word in reversed(made.split()) if word.isdigit())
    check("cvat-cli lists what it made", task in cli("ls").split())
    cli("frames", "--outdir", str(folder / "frames"), "--quality", "original", task, "0", "1")
    check("cvat-cli saves frames", len(list((folder / "frames").iterdir())) == 2)
    cli("delete", task)
    check("cvat-cli deleted it", task not in cli("ls").split())


def main(url, username, password):
    with tempfile.TemporaryDirectory() as name, make_client(url, credentials=(username, password)) as client:
        folder = Path(name)
        client.config.status_check_period = 0.2
        paths = draw(folder)
        project = client.projects.create(models.ProjectWriteRequest(name="streets", labels=story.labels()))
        task = pictures(client, project, folder, paths)
        annotations(task)
        ends(client, task, folder)
        project.remove()
        command_line(url, username, password, folder, paths)
    print(f"{story.PASSED} passed, 0 failed")


if __name__ == "__main__":
    began = time.monotonic()
    main(*sys.argv[1:4])
    print(f"the first task took {time.monotonic() - began:.1f} s")
