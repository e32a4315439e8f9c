-- Tenants. A sign-in looks one up by its name before it knows any tenant, hence as the kernel role.
CREATE TABLE tenants (
    tenant_id uuid NOT NULL PRIMARY KEY,
    id bigint NOT NULL,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);
SELECT es_tenant_table('tenants'), es_kernel_table('tenants', 'SELECT');

-- Users with what never leaves this service: e-mail addresses and password hashes.
CREATE TABLE accounts (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    username text NOT NULL,
    email text NOT NULL,
    first_name text NOT NULL,
    last_name text NOT NULL,
    password_hash text,
    privilege text,
    operator boolean NOT NULL,
    is_active boolean NOT NULL,
    date_joined timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, username)
);
CREATE UNIQUE INDEX ON accounts (tenant_id, lower(email)) WHERE email <> '';
SELECT es_tenant_table('accounts');

-- Sign-ins. A request brings a secret and no tenant: the digest is looked up as the kernel role, and
-- everything after that happens inside the tenant that was found.
CREATE TABLE sessions (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    cookie_digest bytea NOT NULL UNIQUE,
    token_digest bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON sessions (tenant_id, user_id, created_at);
SELECT es_tenant_table('sessions'), es_kernel_table('sessions', 'SELECT');

-- The keys that principals are signed with: rows of the nil tenant, private halves sealed.
CREATE TABLE signing_keys (
    tenant_id uuid NOT NULL,
    kid text NOT NULL,
    public_key bytea NOT NULL,
    sealed_private_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kid)
);
SELECT es_tenant_table('signing_keys');
