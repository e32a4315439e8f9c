-- Projects as lists show them; `labels` is the contract's shape.
CREATE TABLE projects (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    name text NOT NULL,
    owner_id bigint,
    assignee_id bigint,
    assignee_updated_date timestamptz,
    bug_tracker text NOT NULL,
    status text NOT NULL,
    organization_id bigint,
    labels json NOT NULL,
    created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON projects (tenant_id, organization_id, id);
CREATE INDEX ON projects (tenant_id, owner_id);
CREATE INDEX ON projects (tenant_id, assignee_id);
SELECT es_tenant_table('projects');

-- Labels one by one, so that they can be listed and found without their project.
CREATE TABLE labels (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    project_id bigint NOT NULL,
    name text NOT NULL,
    color text NOT NULL,
    type text NOT NULL,
    attributes json NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON labels (tenant_id, project_id);
SELECT es_tenant_table('labels');
