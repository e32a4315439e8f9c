-- Annotations of jobs, each with the versions of its job that have it. `body` is the JSON that clients get: it
-- is written once, and text because a large one grows part by part. The id is part of it.
CREATE TABLE annotations (
    tenant_id uuid NOT NULL,
    job_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('tag', 'shape', 'track')),
    id bigint NOT NULL,
    frame bigint NOT NULL,
    label_id bigint NOT NULL,
    -- The version that it came with.
    from_version bigint NOT NULL,
    -- The version that it went with; NULL while it is there.
    to_version bigint CHECK (to_version > from_version),
    body text NOT NULL,
    PRIMARY KEY (tenant_id, job_id, kind, id)
);
-- What a job has now, however long its history is.
CREATE INDEX annotations_now ON annotations (tenant_id, job_id, kind, frame, id) WHERE to_version IS NULL;
SELECT es_tenant_table('annotations');

-- Each version of a job's annotations: who made it, when, and what it did.
CREATE TABLE annotation_versions (
    tenant_id uuid NOT NULL,
    job_id bigint NOT NULL,
    version bigint NOT NULL,
    action text NOT NULL,
    actor_id bigint,
    created_date timestamptz NOT NULL,
    created json NOT NULL,
    deleted json NOT NULL,
    total json NOT NULL,
    PRIMARY KEY (tenant_id, job_id, version)
);
SELECT es_tenant_table('annotation_versions');
