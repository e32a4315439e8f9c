-- Tasks as lists show them; `labels` is the contract's shape, empty for a task that has its project's.
CREATE TABLE tasks (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    name text NOT NULL,
    project_id bigint,
    owner_id bigint,
    assignee_id bigint,
    assignee_updated_date timestamptz,
    bug_tracker text NOT NULL,
    subset text NOT NULL,
    status text NOT NULL,
    organization_id bigint,
    labels json NOT NULL,
    segment_size bigint NOT NULL,
    overlap bigint,
    -- Known once data is attached.
    size bigint,
    chunk_size bigint,
    image_quality bigint,
    mode text NOT NULL,
    dimension text NOT NULL,
    created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON tasks (tenant_id, organization_id, id);
CREATE INDEX ON tasks (tenant_id, owner_id, id);
CREATE INDEX ON tasks (tenant_id, assignee_id, id);
CREATE INDEX ON tasks (tenant_id, project_id, id);
SELECT es_tenant_table('tasks');

CREATE TABLE jobs (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    task_id bigint NOT NULL,
    project_id bigint,
    organization_id bigint,
    assignee_id bigint,
    assignee_updated_date timestamptz,
    stage text NOT NULL,
    state text NOT NULL,
    status text NOT NULL,
    type text NOT NULL,
    start_frame bigint NOT NULL,
    stop_frame bigint NOT NULL,
    created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON jobs (tenant_id, task_id, id);
CREATE INDEX ON jobs (tenant_id, project_id, id);
CREATE INDEX ON jobs (tenant_id, organization_id, id);
CREATE INDEX ON jobs (tenant_id, assignee_id, id);
SELECT es_tenant_table('jobs');

-- What a task's jobs amount to, kept by each job's own events. `touched_date` is when one of them changed last.
CREATE TABLE task_jobs (
    tenant_id uuid NOT NULL,
    task_id bigint NOT NULL,
    jobs bigint NOT NULL,
    in_annotation bigint NOT NULL,
    in_validation bigint NOT NULL,
    completed bigint NOT NULL,
    touched_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id)
);
SELECT es_tenant_table('task_jobs');

-- When a job of the project changed last.
CREATE TABLE project_jobs (
    tenant_id uuid NOT NULL,
    project_id bigint NOT NULL,
    jobs bigint NOT NULL,
    touched_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, project_id)
);
SELECT es_tenant_table('project_jobs');

-- What a project's tasks amount to, subset by subset, kept by each task's own events.
CREATE TABLE project_tasks (
    tenant_id uuid NOT NULL,
    project_id bigint NOT NULL,
    subset text NOT NULL,
    tasks bigint NOT NULL,
    in_annotation bigint NOT NULL,
    completed bigint NOT NULL,
    PRIMARY KEY (tenant_id, project_id, subset)
);
SELECT es_tenant_table('project_tasks');

-- What runs in the background and is polled by its id, which names the service that gave it out.
CREATE TABLE requests (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    request_id text NOT NULL,
    status text NOT NULL,
    message text NOT NULL,
    progress double precision,
    action text NOT NULL,
    target text NOT NULL,
    project_id bigint,
    task_id bigint,
    owner_id bigint,
    created_date timestamptz NOT NULL,
    started_date timestamptz,
    finished_date timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX requests_request_id ON requests (tenant_id, request_id);
CREATE INDEX ON requests (tenant_id, owner_id, id);
CREATE INDEX ON requests (tenant_id, task_id);
SELECT es_tenant_table('requests');

-- Labels of tasks that are in no project; a table of their own, because a projection is fed by one aggregate.
CREATE TABLE task_labels (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    task_id bigint NOT NULL,
    name text NOT NULL,
    color text NOT NULL,
    type text NOT NULL,
    attributes json NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON task_labels (tenant_id, task_id);
SELECT es_tenant_table('task_labels');
