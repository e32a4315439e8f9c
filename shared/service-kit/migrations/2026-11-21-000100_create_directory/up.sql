-- What a service knows of identity's users, organizations and memberships. In identity itself these are
-- its own projections; elsewhere the consumer `directory` feeds them.
CREATE TABLE directory_users (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    username text NOT NULL,
    first_name text NOT NULL,
    last_name text NOT NULL,
    privilege text,
    is_active boolean NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, username)
);
SELECT es_tenant_table('directory_users');

CREATE TABLE directory_organizations (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    contact json NOT NULL,
    owner_id bigint,
    created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, slug)
);
SELECT es_tenant_table('directory_organizations');

CREATE TABLE directory_memberships (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    organization_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    is_active boolean NOT NULL,
    joined_date timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, organization_id, user_id)
);
CREATE INDEX ON directory_memberships (tenant_id, user_id);
SELECT es_tenant_table('directory_memberships');
