//! From files to frames: everything that a client has sent becomes the data of its task, or none of it does.

use contracts::media::TaskData as Fact;
use event_store::Unit;
use service_kit::Kit;

use super::assemble::{Assembled, assemble};
use super::{Claim, JobError};
use crate::blobs;
use crate::domain::options::{self, Options};
use crate::domain::task_data::{Action, Stage, TaskData, TaskDataCommand};
use crate::frames::{self, Frame, Frames};
use crate::keeping::sweep_now;
use crate::media::Media;
use crate::projections::known_tasks;
use crate::uploads::{self, Whole};

/// The job's name; its subject is the task.
pub const JOB: &str = "media.prepare";

/// Attempts after which an import fails: about an hour of a storage that does not answer.
const ATTEMPTS_MAX: i32 = 120;
/// How often an import tells how far it is.
const STEPS: i64 = 10;

/// Prepares a task's data.
pub async fn run(kit: &Kit, claim: &Claim) -> Result<(), JobError> {
    let media = Media::of(kit)?;
    let task_id = claim.subject_id;
    let state = kit.store.load::<TaskData>(claim.tenant, task_id).await?.unwrap_or_default();
    let (Stage::Submitted, Some(request_id)) = (state.stage, state.request_id) else {
        return done(kit, claim).await;
    };
    if claim.attempts > ATTEMPTS_MAX {
        let message = "The storage or the database did not answer for too long; send the data again.";
        return fail(kit, claim, &request_id, message.to_owned()).await;
    }
    let mut tx = kit.store.database().tenant(claim.tenant).await?;
    let (total, _) = uploads::count(&mut tx, task_id).await?;
    let waiting = uploads::in_pieces(&mut tx, task_id).await?;
    tx.commit().await?;
    let ready = total - i64::try_from(waiting.len()).unwrap_or(total);
    for (index, file) in waiting.iter().enumerate() {
        if let Assembled::Refused(message) = assemble(kit, claim, &media, file).await? {
            return fail(kit, claim, &request_id, message).await;
        }
        let now = ready + i64::try_from(index + 1).unwrap_or(total);
        if now * STEPS / total.max(1) > (now - 1) * STEPS / total.max(1) && now < total {
            tell(kit, claim, Action::Progress { request_id: request_id.clone(), done: now, total }).await?;
        }
    }
    event_store::fail_point!("media.prepare.before_end");
    let ended = end(kit, claim, &request_id).await?;
    event_store::fail_point!("media.prepare.after_end");
    match ended {
        Ok(()) => Ok(()),
        Err(message) => fail(kit, claim, &request_id, message).await,
    }
}

async fn done(kit: &Kit, claim: &Claim) -> Result<(), JobError> {
    let mut unit = claim.unit(kit).await?;
    claim.finish(unit.tx()).await?;
    Ok(unit.commit().await?)
}

/// The command, in the organization that the task is in now.
async fn command(unit: &mut Unit, task_id: i64, action: Action) -> Result<TaskDataCommand, JobError> {
    let task = known_tasks::find(unit.tx(), task_id).await?;
    let at = unit.store().clock().now();
    Ok(TaskDataCommand { organization_id: task.and_then(|task| task.organization_id), at, action })
}

async fn tell(kit: &Kit, claim: &Claim, action: Action) -> Result<(), JobError> {
    let mut unit = claim.unit(kit).await?;
    let command = command(&mut unit, claim.subject_id, action).await?;
    unit.execute::<TaskData>(claim.subject_id, command).await?;
    Ok(unit.commit().await?)
}

/// Makes frames of the files, in one transaction with everything that speaks of them. The inner error is for the
/// client.
async fn end(kit: &Kit, claim: &Claim, request_id: &str) -> Result<Result<(), String>, JobError> {
    let task_id = claim.subject_id;
    let mut unit = claim.unit(kit).await?;
    let state = unit.load::<TaskData>(task_id).await?.unwrap_or_default();
    let (Stage::Submitted, Some(options)) = (state.stage, state.options) else {
        claim.finish(unit.tx()).await?;
        unit.commit().await?;
        return Ok(Ok(()));
    };
    let files = uploads::whole(unit.tx(), task_id).await?;
    let Chosen { frames, unused, data } = match choose(task_id, files, &options) {
        Ok(chosen) => chosen,
        Err(message) => {
            unit.commit().await?;
            return Ok(Err(message));
        }
    };
    frames::put(unit.tx(), task_id, &frames).await?;
    uploads::forget(unit.tx(), task_id).await?;
    let less = blobs::release(unit.tx(), unused).await?;
    let prepare = Action::Prepare { request_id: request_id.to_owned(), data: Box::new(data) };
    let command = command(&mut unit, task_id, prepare).await?;
    unit.execute::<TaskData>(task_id, command).await?;
    if less > 0 {
        sweep_now(&mut unit).await?;
    }
    claim.finish(unit.tx()).await?;
    uploads::change_storage(&mut unit, -less, None).await?;
    unit.commit().await?;
    Ok(Ok(()))
}

struct Chosen {
    frames: Frames,
    /// Blobs of files that are not used.
    unused: Vec<i64>,
    data: Fact,
}

/// Sorts the files and picks those that are used.
fn choose(task_id: i64, mut files: Vec<Whole>, options: &Options) -> Result<Chosen, String> {
    options::sort(&mut files, options.sorting, task_id.unsigned_abs(), |file| &file.name);
    let used: Vec<usize> = options.used(files.len()).collect();
    let (Some(first), Some(last)) = (used.first(), used.last()) else {
        return Err(format!(
            "None of the {} pictures is used: start_frame, stop_frame and frame_filter leave none.",
            files.len()
        ));
    };
    let (width, height) = files[*first].blob.picture.shown_size();
    let number = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    let mut data = Fact {
        task_id,
        size: number(used.len()),
        start_frame: number(*first),
        stop_frame: number(*last),
        frame_filter: options.frame_filter(),
        chunk_size: options.chunk_size_for(width, height),
        image_quality: options.image_quality,
        mode: "annotation".to_owned(),
        dimension: "2d".to_owned(),
        bytes: 0,
    };
    let mut wanted = used.into_iter().peekable();
    let (mut frames, mut unused) = (vec![], vec![]);
    for (index, file) in files.into_iter().enumerate() {
        if wanted.next_if_eq(&index).is_none() {
            unused.push(file.blob_id);
            continue;
        }
        data.bytes = data.bytes.saturating_add(i64::try_from(file.blob.size).unwrap_or(i64::MAX));
        frames.push(Frame { name: file.name, blob_id: file.blob_id, blob: file.blob });
    }
    Ok(Chosen { frames: Frames(frames), unused, data })
}

/// Ends an import that cannot succeed; nothing of it is kept.
async fn fail(kit: &Kit, claim: &Claim, request_id: &str, message: String) -> Result<(), JobError> {
    let task_id = claim.subject_id;
    let mut unit = claim.unit(kit).await?;
    let fail = Action::Fail { request_id: request_id.to_owned(), message };
    let command = command(&mut unit, task_id, fail).await?;
    unit.execute::<TaskData>(task_id, command).await?;
    let less = uploads::discard(&mut unit, task_id, None).await?;
    claim.finish(unit.tx()).await?;
    uploads::change_storage(&mut unit, -less, None).await?;
    Ok(unit.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Blob;
    use crate::domain::options::Sorting;
    use crate::pictures::{Kind, Picture};

    fn file(name: &str, blob_id: i64) -> Whole {
        let picture = Picture { kind: Kind::Jpeg, width: 1920, height: 1080, orientation: 6, plain: true };
        let blob = Blob { digest: [0; 32], size: 100, crc32: 0, picture };
        Whole { name: name.to_owned(), blob_id, blob }
    }

    fn options(start_frame: i64, stop_frame: Option<i64>, step: i64) -> Options {
        Options {
            image_quality: 70,
            chunk_size: None,
            sorting: Sorting::Lexicographical,
            start_frame,
            stop_frame,
            step,
        }
    }

    #[test]
    fn what_is_not_used_is_given_back() {
        let files = vec![file("d", 4), file("b", 2), file("a", 1), file("c", 3)];
        let chosen = choose(9, files, &options(1, None, 2)).unwrap();
        let names: Vec<_> = chosen.frames.0.iter().map(|frame| frame.name.as_str()).collect();
        assert_eq!(names, ["b", "d"]);
        assert_eq!(chosen.unused, [1, 3]);
        let data = chosen.data;
        assert_eq!((data.size, data.start_frame, data.stop_frame, data.bytes), (2, 1, 3, 200));
        assert_eq!((data.frame_filter.as_str(), data.chunk_size), ("step=2", 36));
    }

    #[test]
    fn no_picture_left_is_a_failure_with_a_reason() {
        let failure = choose(9, vec![file("a", 1)], &options(5, None, 1)).err().unwrap();
        assert!(failure.starts_with("None of the 1 pictures is used"), "{failure}");
    }
}
