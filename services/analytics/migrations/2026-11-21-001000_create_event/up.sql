-- Every contract event of the mesh, once. `json`, not `jsonb`: what was published is kept byte for byte.
CREATE TABLE event (
    seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    source text NOT NULL,
    event_type text NOT NULL,
    subject text NOT NULL,
    occurred_at timestamptz NOT NULL,
    dataschema text NOT NULL,
    stream_version bigint NOT NULL,
    -- Position in the publisher's log; the arrival number is in event_position.
    log_position bigint NOT NULL,
    partition_key text NOT NULL,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    actor_id bigint,
    organization_id bigint,
    traceparent text,
    data json NOT NULL,
    UNIQUE (tenant_id, event_id)
);
CREATE INDEX ON event (tenant_id, event_type, seq);
CREATE INDEX ON event (tenant_id, subject, seq);
CREATE INDEX ON event (tenant_id, organization_id, seq);
CREATE INDEX ON event (tenant_id, actor_id, seq);
SELECT es_tenant_table('event');
REVOKE UPDATE, DELETE ON event FROM annomesh_runtime;

-- Arrival numbers are given after commit, so that whoever reads on from one never skips an event.
SELECT es_numbered_table('event');
