-- Usage: what was used, fact by fact, and what it comes to. All of it is made from the mesh's events by the
-- consumer `usage` and can be made anew.

-- One fact an event, meter and combination of dimensions; known again by its id.
CREATE TABLE usage_fact (
    tenant_id uuid NOT NULL,
    fact_id uuid NOT NULL,
    meter text NOT NULL,
    -- A JSON object with sorted keys.
    dims text NOT NULL,
    source text NOT NULL,
    occurred_at timestamptz NOT NULL,
    value numeric NOT NULL,
    PRIMARY KEY (tenant_id, fact_id, meter, dims)
);
SELECT es_tenant_table('usage_fact');

-- Sums of facts by quarter of an hour of UTC: every hour, day and month of every time zone in use begins at one.
CREATE TABLE usage_quarter (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    quarter timestamptz NOT NULL,
    dims text NOT NULL,
    value numeric NOT NULL,
    facts bigint NOT NULL,
    PRIMARY KEY (tenant_id, meter, quarter, dims)
);
SELECT es_tenant_table('usage_quarter');

-- How high something stood, and how long: a user's seat, a tenant's bytes. Each key has one open segment.
CREATE TABLE level_segment (
    tenant_id uuid NOT NULL,
    series text NOT NULL,
    key text NOT NULL,
    since timestamptz NOT NULL,
    -- None while it lasts.
    until timestamptz CHECK (until > since),
    level numeric NOT NULL CHECK (level >= 0),
    -- Contract version of the event that began it.
    version bigint NOT NULL,
    PRIMARY KEY (tenant_id, series, key, since)
);
CREATE UNIQUE INDEX level_segment_open ON level_segment (tenant_id, series, key) WHERE until IS NULL;
CREATE INDEX level_segment_since ON level_segment (tenant_id, series, since);
CREATE INDEX level_segment_until ON level_segment (tenant_id, series, until);
SELECT es_tenant_table('level_segment');

-- How a series' sum over its keys changed in a quarter of an hour; enough to integrate it and to find its peaks.
CREATE TABLE level_quarter (
    tenant_id uuid NOT NULL,
    series text NOT NULL,
    quarter timestamptz NOT NULL,
    -- By how much it is higher at the end.
    delta numeric NOT NULL,
    -- The sum of each change times the microseconds that were left of the quarter.
    moment numeric NOT NULL,
    -- By how much it was higher at its highest than at the beginning; at least 0.
    rise numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, series, quarter)
);
SELECT es_tenant_table('level_quarter');

-- Tenants by their ids, as operators list them. The rows are the deployment's.
CREATE TABLE known_tenant (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT es_tenant_table('known_tenant');

-- Quotas: what is taken and what is promised, one row to queue at for each cap.
CREATE TABLE quota (
    tenant_id uuid NOT NULL,
    key text NOT NULL,
    -- As the owner's log says.
    used numeric NOT NULL DEFAULT 0 CHECK (used >= 0),
    -- The sum of the reservations that are held.
    reserved numeric NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    PRIMARY KEY (tenant_id, key)
);
SELECT es_tenant_table('quota');

-- Users who have a seat.
CREATE TABLE seat (
    tenant_id uuid NOT NULL,
    user_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
SELECT es_tenant_table('seat');

CREATE TABLE reservation (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    key text NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    -- The service that takes the place, and where its log was when it asked.
    owner text NOT NULL,
    log_position bigint NOT NULL,
    idempotency_key text NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'committed', 'released', 'expired')),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, owner, idempotency_key)
);
CREATE INDEX reservation_held ON reservation (tenant_id, expires_at) WHERE state = 'held';
SELECT es_tenant_table('reservation');
