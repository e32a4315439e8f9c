-- Bytes, once for each tenant, with what a look at them has shown. A row is there before its object and goes after it,
-- so nothing in the storage is without a row. `id` tells a row from a later one about the same bytes.
CREATE TABLE blob (
    tenant_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    id bigint GENERATED ALWAYS AS IDENTITY,
    size bigint NOT NULL CHECK (size > 0),
    crc32 bigint NOT NULL,
    kind smallint NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    orientation smallint NOT NULL,
    plain boolean NOT NULL,
    -- How many files and frames use it. What nobody uses is swept.
    uses bigint NOT NULL DEFAULT 0 CHECK (uses >= 0),
    -- When somebody last said that they are about to use it; none for what was given back.
    wanted_at timestamptz,
    PRIMARY KEY (tenant_id, digest)
);
CREATE UNIQUE INDEX ON blob (tenant_id, id);
CREATE INDEX ON blob (tenant_id, wanted_at) WHERE uses = 0;
SELECT es_tenant_table('blob');

-- Pictures made of others. They go with what they were made of. A row without a size is about one that is being made.
CREATE TABLE derived (
    tenant_id uuid NOT NULL,
    digest bytea NOT NULL,
    form text NOT NULL,
    size bigint,
    crc32 bigint,
    PRIMARY KEY (tenant_id, digest, form)
);
SELECT es_tenant_table('derived');

-- Files that were sent for a task and are not its frames yet.
CREATE TABLE upload_file (
    tenant_id uuid NOT NULL,
    task_id bigint NOT NULL,
    name text NOT NULL,
    -- The order of arrival, later the client's.
    place bigint NOT NULL,
    blob_id bigint,
    -- Of a file that is sent piece by piece: its id, how long it will be, how much is here, and the pieces' names.
    upload_id uuid,
    length bigint NOT NULL DEFAULT 0,
    received bigint NOT NULL DEFAULT 0,
    pieces text[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id, name)
);
CREATE UNIQUE INDEX ON upload_file (tenant_id, upload_id) WHERE upload_id IS NOT NULL;
SELECT es_tenant_table('upload_file');

-- The frames of a task's data, in one piece; see frames.rs.
CREATE TABLE frame_index (
    tenant_id uuid NOT NULL,
    task_id bigint NOT NULL,
    frames bytea NOT NULL,
    PRIMARY KEY (tenant_id, task_id)
);
SELECT es_tenant_table('frame_index');

-- What projects' events say, as far as permissions and previews need it.
CREATE TABLE known_projects (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    owner_id bigint,
    assignee_id bigint,
    organization_id bigint,
    PRIMARY KEY (tenant_id, id)
);
SELECT es_tenant_table('known_projects');

CREATE TABLE known_tasks (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    project_id bigint,
    owner_id bigint,
    assignee_id bigint,
    organization_id bigint,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON known_tasks (tenant_id, project_id, id);
SELECT es_tenant_table('known_tasks');

CREATE TABLE known_jobs (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    task_id bigint NOT NULL,
    assignee_id bigint,
    start_frame bigint NOT NULL,
    stop_frame bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON known_jobs (tenant_id, task_id);
SELECT es_tenant_table('known_jobs');
