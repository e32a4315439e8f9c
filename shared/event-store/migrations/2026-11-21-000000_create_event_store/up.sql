-- The tables that every service's database has. Roles annomesh_runtime and annomesh_kernel exist before
-- (see bootstrap.rs). `json`, not `jsonb`: what was appended is kept byte for byte.

-- The tenant of this transaction. After a transaction-local setting has ended the setting reads '', not
-- NULL; no tenant means no rows.
CREATE FUNCTION es_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('app.tenant', true), '')::uuid $$;

-- Puts a table behind the tenant's wall; every table with a tenant_id calls it once.
CREATE FUNCTION es_tenant_table(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY tenant ON %s USING (tenant_id = es_tenant()) WITH CHECK (tenant_id = es_tenant())', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO annomesh_runtime', target);
END $$;

-- Lets the kernel role see a table across tenants. Only for event tables and sign-in.
CREATE FUNCTION es_kernel_table(target regclass, privileges text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE POLICY kernel ON %s TO annomesh_kernel USING (true) WITH CHECK (true)', target);
    EXECUTE format('GRANT %s ON %s TO annomesh_kernel', privileges, target);
END $$;

-- Streams -------------------------------------------------------------------------------------------------
CREATE TABLE es_stream (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    stream_id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    contract_version bigint NOT NULL CHECK (contract_version >= 0),
    state_rev smallint NOT NULL,
    state json NOT NULL,
    PRIMARY KEY (tenant_id, kind, stream_id)
);
SELECT es_tenant_table('es_stream'), es_kernel_table('es_stream', 'SELECT');

-- Private events: the truth. Never updated, never deleted.
CREATE TABLE es_event (
    seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    stream_id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    event_type text NOT NULL,
    schema_rev smallint NOT NULL,
    data json NOT NULL,
    actor_id bigint,
    acting_for bigint,
    correlation_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    UNIQUE (tenant_id, kind, stream_id, version)
);
SELECT es_tenant_table('es_event'), es_kernel_table('es_event', 'SELECT');
REVOKE UPDATE, DELETE ON es_event FROM annomesh_runtime;

-- Contract events: what leaves the service, stored beside the private event that caused it.
CREATE TABLE es_contract (
    seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    stream_id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    data json NOT NULL,
    organization_id bigint,
    actor_id bigint,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    traceparent text,
    occurred_at timestamptz NOT NULL,
    UNIQUE (tenant_id, kind, stream_id, version)
);
SELECT es_tenant_table('es_contract'), es_kernel_table('es_contract', 'SELECT');
REVOKE UPDATE, DELETE ON es_contract FROM annomesh_runtime;

-- Numbering -----------------------------------------------------------------------------------------------
-- A log is a table with a `seq`, plus `<log>_pending` (committed, not yet numbered) and `<log>_position`.
CREATE TABLE es_head (log text PRIMARY KEY, position bigint NOT NULL);
GRANT SELECT, UPDATE ON es_head TO annomesh_kernel;
GRANT SELECT ON es_head TO annomesh_runtime;

CREATE FUNCTION es_numbered_table(target text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (seq bigint PRIMARY KEY, tenant_id uuid NOT NULL)', target || '_pending');
    EXECUTE format('SELECT es_tenant_table(%L)', target || '_pending');
    EXECUTE format('SELECT es_kernel_table(%L, %L)', target || '_pending', 'SELECT, DELETE');
    EXECUTE format('CREATE TABLE %I (position bigint PRIMARY KEY, seq bigint NOT NULL UNIQUE, tenant_id uuid NOT NULL)', target || '_position');
    EXECUTE format('CREATE INDEX ON %I (tenant_id, position)', target || '_position');
    EXECUTE format('SELECT es_tenant_table(%L)', target || '_position');
    EXECUTE format('SELECT es_kernel_table(%L, %L)', target || '_position', 'SELECT, INSERT');
    INSERT INTO es_head VALUES (target, 0);
END $$;
SELECT es_numbered_table('es_event'), es_numbered_table('es_contract');

-- Leases, checkpoints -------------------------------------------------------------------------------------
-- The lease itself is an advisory lock of its owner's session; the row keeps the fence.
CREATE TABLE es_lease (name text PRIMARY KEY, fence bigint NOT NULL, owner text NOT NULL);
GRANT SELECT, INSERT, UPDATE ON es_lease TO annomesh_kernel;
CREATE TABLE es_checkpoint (name text PRIMARY KEY, position bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());
GRANT SELECT, INSERT, UPDATE ON es_checkpoint TO annomesh_kernel;

-- Idempotency ---------------------------------------------------------------------------------------------
CREATE TABLE es_idempotency (
    tenant_id uuid NOT NULL,
    user_id bigint NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    answer json,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, key)
);
CREATE INDEX ON es_idempotency (created_at);
SELECT es_tenant_table('es_idempotency'), es_kernel_table('es_idempotency', 'SELECT, DELETE');

-- Jobs: work outside the database, after commit. A row is a pointer; what it points at is behind the wall.
CREATE TABLE es_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    subject_id bigint NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    traceparent text,
    UNIQUE (tenant_id, name, subject_id)
);
CREATE INDEX ON es_job (name, due_at);
SELECT es_tenant_table('es_job'), es_kernel_table('es_job', 'SELECT, UPDATE, DELETE');

-- Inbox ---------------------------------------------------------------------------------------------------
-- Where a consumer is in a source; `position` and `event_id` are those of the last record, to recognise a
-- topic that is not the one it was.
CREATE TABLE inbox_offset (
    consumer text NOT NULL,
    topic text NOT NULL,
    part integer NOT NULL,
    next_offset bigint NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    event_id uuid,
    PRIMARY KEY (consumer, topic, part)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON inbox_offset TO annomesh_runtime;
GRANT SELECT ON inbox_offset TO annomesh_kernel;

CREATE TABLE inbox_stream (
    tenant_id uuid NOT NULL,
    consumer text NOT NULL,
    source text NOT NULL,
    kind text NOT NULL,
    stream_id bigint NOT NULL,
    last_version bigint NOT NULL,
    parked boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, consumer, source, kind, stream_id)
);
SELECT es_tenant_table('inbox_stream'), es_kernel_table('inbox_stream', 'SELECT');

-- Events set aside, in order; the first of a stream failed, the others follow it.
CREATE TABLE inbox_parked (
    tenant_id uuid NOT NULL,
    consumer text NOT NULL,
    source text NOT NULL,
    kind text NOT NULL,
    stream_id bigint NOT NULL,
    version bigint NOT NULL,
    envelope json NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    due_at timestamptz NOT NULL,
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, consumer, source, kind, stream_id, version)
);
CREATE INDEX ON inbox_parked (consumer, due_at);
SELECT es_tenant_table('inbox_parked'), es_kernel_table('inbox_parked', 'SELECT');

-- A projection that is being rebuilt grows here under its own name; see projection.rs.
CREATE SCHEMA rebuild;
GRANT USAGE ON SCHEMA public, rebuild TO annomesh_runtime, annomesh_kernel;
-- A swap moves a table into `public`. Whoever owns the database may; a copy of it may belong to somebody else.
GRANT CREATE ON SCHEMA public TO CURRENT_USER;
