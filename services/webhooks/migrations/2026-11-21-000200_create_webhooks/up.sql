-- Webhooks as lists and the selection of subscribers see them.
CREATE TABLE webhooks (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    type text NOT NULL,
    target_url text NOT NULL,
    description text NOT NULL,
    events text[] NOT NULL,
    secret text NOT NULL,
    is_active boolean NOT NULL,
    enable_ssl boolean NOT NULL,
    owner_id bigint,
    project_id bigint,
    organization_id bigint,
    -- By service, the log position after which events are this webhook's.
    starts json NOT NULL,
    created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON webhooks (tenant_id, organization_id);
CREATE INDEX ON webhooks (tenant_id, project_id);
CREATE INDEX ON webhooks (tenant_id, owner_id);
SELECT es_tenant_table('webhooks');

-- What this service has to know of projects: whose they are and where.
CREATE TABLE known_projects (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    name text NOT NULL,
    owner_id bigint,
    organization_id bigint,
    PRIMARY KEY (tenant_id, id)
);
SELECT es_tenant_table('known_projects');

-- One event for one webhook: what has to be delivered, byte for byte.
CREATE TABLE messages (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    webhook_id bigint NOT NULL,
    event text NOT NULL,
    event_id uuid NOT NULL,
    -- Contract version of the event's stream; a ping has none.
    sequence bigint,
    body text NOT NULL,
    changed_fields text NOT NULL,
    redelivery boolean NOT NULL,
    -- Attempts that are recorded in `deliveries`.
    attempts integer NOT NULL DEFAULT 0,
    -- How it ended; none while attempts are due.
    outcome text CHECK (outcome IN ('delivered', 'refused', 'exhausted', 'skipped')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
-- An event becomes one message a webhook, however often it is taken in.
CREATE UNIQUE INDEX ON messages (tenant_id, webhook_id, event_id) WHERE NOT redelivery;
SELECT es_tenant_table('messages');

-- Attempts, as CVAT lists them.
CREATE TABLE deliveries (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    message_id bigint NOT NULL,
    webhook_id bigint NOT NULL,
    attempt integer NOT NULL,
    status_code integer NOT NULL,
    request_duration bigint NOT NULL,
    response text NOT NULL,
    created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON deliveries (tenant_id, webhook_id, updated_date, id);
SELECT es_tenant_table('deliveries');
