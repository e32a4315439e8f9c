//! What requests that change annotations have in common, whether they name a job or a task.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use actix_web::HttpRequest;
use contracts::projects::Job as JobFact;
use event_store::Unit;
use serde::Serialize;
use service_kit::Refusal;

use crate::domain::annotation_check::{self, BYTES_MAX, Fault, Labels};
use crate::domain::annotation_data::LabeledData;
use crate::domain::annotation_items::{Ids, Item, Items, Kind};
use crate::domain::annotations::{
    Action, Annotations, AnnotationsCommand, ChangeAnnotations, Place, Removal,
};
use crate::domain::job::{Job, JobCommand};
use crate::domain::label::LabelPatch;
use crate::projections::labels::Holder;
use crate::projections::{annotation_jobs, annotations};

/// The largest body of annotations, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads `?action=` of a PATCH.
///
/// # Errors
/// 400 when it is missing or unknown.
pub fn action(request: &HttpRequest) -> Result<Action, Refusal> {
    let mut parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
    match parameters.find(|(name, _)| name == "action").as_ref().map(|(_, value)| value.as_ref()) {
        Some("create") => Ok(Action::Create),
        Some("update") => Ok(Action::Update),
        Some("delete") => Ok(Action::Delete),
        Some(other) => Err(Refusal::field("action", format!("\"{other}\" is not a valid choice."))),
        None => Err(Refusal::field("action", "Please specify one of these actions: create, update, delete.")),
    }
}

/// Where annotations go.
pub struct Target {
    pub task_id: i64,
    pub project_id: Option<i64>,
    pub frames: RangeInclusive<i64>,
}

/// A request's annotations, checked and completed. What is to be deleted needs nothing but its ids. Nobody
/// deletes a label that they have before the unit ends.
///
/// # Errors
/// 400 that names the place of the first fault.
pub async fn checked(
    unit: &mut Unit,
    data: &LabeledData,
    action: Action,
    target: &Target,
) -> Result<LabeledData, Refusal> {
    annotation_check::check_size(data).map_err(refusal)?;
    let mut data = data.clone();
    match action {
        Action::Delete => {}
        Action::Create | Action::Update | Action::Replace => {
            let holder = target.project_id.map_or(Holder::Task(target.task_id), Holder::Project);
            let labels = annotation_jobs::hold_labels(unit.tx(), holder).await?;
            annotation_check::check(&mut data, &target.frames, &Labels::new(&labels)).map_err(refusal)?;
        }
    }
    Ok(data)
}

fn refusal(Fault { path, text }: Fault) -> Refusal {
    Refusal::field(&path, text)
}

/// The ids that a request names.
pub fn named(data: &LabeledData) -> Ids {
    Ids {
        tags: data.tags.iter().filter_map(|tag| tag.id).collect(),
        shapes: data.shapes.iter().filter_map(|shape| shape.id).collect(),
        tracks: data.tracks.iter().filter_map(|track| track.id).collect(),
    }
}

/// What a request did to one job.
pub struct Changed {
    /// The version that it made, or found when there was nothing to do.
    pub version: i64,
    pub added: Items,
    pub removed: Ids,
}

/// Changes one job's annotations. `ids` are those that an update or a deletion names; unknown ones do nothing.
pub async fn change(
    unit: &mut Unit,
    job_id: i64,
    action: Action,
    data: LabeledData,
    ids: &Ids,
) -> Result<Changed, Refusal> {
    let job = locked(unit, job_id).await?;
    let removed = match action {
        Action::Update | Action::Delete => annotations::present(unit.tx(), job_id, ids).await?,
        Action::Create | Action::Replace => Ids::default(),
    };
    let remove = match action {
        Action::Replace => Removal::Everything,
        Action::Create | Action::Update | Action::Delete => Removal::These(removed.clone()),
    };
    let added = match action {
        Action::Delete => Items::default(),
        Action::Create | Action::Update | Action::Replace => numbered(unit, data).await?,
    };
    let version = carry_out(unit, &job, action, remove, added.clone()).await?;
    Ok(Changed { version, added, removed })
}

/// Removes all of one job's annotations.
pub async fn clear(unit: &mut Unit, job_id: i64) -> Result<(), Refusal> {
    let job = locked(unit, job_id).await?;
    carry_out(unit, &job, Action::Delete, Removal::Everything, Items::default()).await.map(|_| ())
}

/// The labels that patches delete.
pub fn deleted(patches: &[LabelPatch]) -> Vec<i64> {
    let id = |patch: &LabelPatch| match patch {
        LabelPatch::Delete { id } => Some(*id),
        LabelPatch::Add(_) | LabelPatch::Change { .. } => None,
    };
    patches.iter().filter_map(id).collect()
}

/// Removes what the jobs of a project or a task have with labels that are no more, as CVAT does.
pub async fn remove_labelled(unit: &mut Unit, holder: Holder, labels: &[i64]) -> Result<(), Refusal> {
    if labels.is_empty() {
        return Ok(());
    }
    for (job_id, ids) in annotation_jobs::labelled(unit.tx(), holder, labels).await? {
        let job = locked(unit, job_id).await?;
        // Some may have gone before the job was locked.
        let ids = annotations::present(unit.tx(), job_id, &ids).await?;
        carry_out(unit, &job, Action::Delete, Removal::These(ids), Items::default()).await?;
    }
    Ok(())
}

/// The job; from here on nobody else changes it or its annotations.
async fn locked(unit: &mut Unit, job_id: i64) -> Result<JobFact, Refusal> {
    let job = unit.load::<Job>(job_id).await?.ok_or_else(Refusal::not_found)?;
    Ok(job.alive().map_err(|_| Refusal::not_found())?.clone())
}

async fn carry_out(
    unit: &mut Unit,
    job: &JobFact,
    action: Action,
    remove: Removal,
    add: Items,
) -> Result<i64, Refusal> {
    let before = unit.load::<Annotations>(job.id).await?.unwrap_or_default().version;
    let change = ChangeAnnotations { place: place(job), action, remove, add };
    let command = AnnotationsCommand::Change(Box::new(change));
    let version = unit.execute::<Annotations>(job.id, command).await?.state.version;
    if version != before {
        // Last, because it also takes a row of the task and of the project, which others wait for.
        let at = unit.store().clock().now();
        unit.execute::<Job>(job.id, JobCommand::Touch { at }).await?;
    }
    Ok(version)
}

fn place(job: &JobFact) -> Place {
    let &JobFact { task_id, project_id, organization_id, .. } = job;
    Place { task_id, project_id, organization_id }
}

/// Renders annotations under new ids.
async fn numbered(unit: &mut Unit, mut data: LabeledData) -> Result<Items, Refusal> {
    let ids = unit.new_ids_of("annotations", data.len()).await?;
    data.number(ids);
    let items = Items::render(&data).map_err(event_store::StoreError::from)?;
    for kind in Kind::ALL {
        if let Some(n) = items.of(kind).iter().position(|item| item.body.get().len() > BYTES_MAX) {
            let text = format!("One annotation takes at most {BYTES_MAX} bytes.");
            return Err(Refusal::field(&format!("{}[{n}]", kind.plural()), text));
        }
    }
    Ok(items)
}

/// What was added, as clients get it.
#[derive(Serialize)]
pub struct Added<'a> {
    pub version: i64,
    pub tags: Vec<&'a Item>,
    pub shapes: Vec<&'a Item>,
    pub tracks: Vec<&'a Item>,
    pub intervals: [(); 0],
}

impl<'a> Added<'a> {
    pub fn new(version: i64) -> Self {
        Self { version, tags: vec![], shapes: vec![], tracks: vec![], intervals: [] }
    }

    /// Adds everything that `shown` picks.
    pub fn extend(&mut self, items: &'a Items, shown: impl Fn(&Item) -> bool) {
        self.tags.extend(items.tags.iter().filter(|item| shown(item)));
        self.shapes.extend(items.shapes.iter().filter(|item| shown(item)));
        self.tracks.extend(items.tracks.iter().filter(|item| shown(item)));
    }
}

/// Those of a request's annotations that were removed.
pub fn removed<'a>(
    version: i64,
    data: &LabeledData,
    removed: impl IntoIterator<Item = &'a Ids>,
) -> LabeledData {
    let mut gone: [HashSet<i64>; 3] = Default::default();
    for ids in removed {
        for (gone, kind) in gone.iter_mut().zip(Kind::ALL) {
            gone.extend(ids.of(kind));
        }
    }
    let is_gone = |kind: usize, id: Option<i64>| id.is_some_and(|id| gone[kind].contains(&id));
    LabeledData {
        version,
        tags: data.tags.iter().filter(|tag| is_gone(0, tag.id)).cloned().collect(),
        shapes: data.shapes.iter().filter(|shape| is_gone(1, shape.id)).cloned().collect(),
        tracks: data.tracks.iter().filter(|track| is_gone(2, track.id)).cloned().collect(),
        intervals: vec![],
    }
}
