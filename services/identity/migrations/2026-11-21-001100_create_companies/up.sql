-- What operators say of a tenant. Names are compared without regard to the case of their letters.
ALTER TABLE tenants
    ADD COLUMN display_name text NOT NULL DEFAULT '',
    ADD COLUMN allowed_users bigint,
    ADD COLUMN features text[],
    ADD COLUMN exclude_features text[] NOT NULL DEFAULT '{}';
UPDATE tenants SET display_name = name;
ALTER TABLE tenants ALTER COLUMN display_name DROP DEFAULT;
CREATE UNIQUE INDEX tenants_display_name_key ON tenants (lower(display_name));

-- The domains of a tenant's e-mail addresses; unique in the deployment, because a sign-in by address finds its
-- tenant here.
CREATE TABLE tenant_domains (
    tenant_id uuid NOT NULL,
    domain text NOT NULL PRIMARY KEY
);
CREATE INDEX ON tenant_domains (tenant_id);
SELECT es_tenant_table('tenant_domains'), es_kernel_table('tenant_domains', 'SELECT');

-- ClearML's ids of users: 32 hexadecimal digits that follow from tenant and id, and from nothing else, so that
-- a rebuild gives the same. An operator names a user of any tenant by one; the kernel role finds the tenant.
CREATE TABLE public_ids (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    public_id uuid NOT NULL GENERATED ALWAYS AS (md5(tenant_id::text || '/user/' || id)::uuid) STORED,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX public_ids_public_id_key ON public_ids (public_id);
SELECT es_tenant_table('public_ids'), es_kernel_table('public_ids', 'SELECT');
ALTER TABLE public_ids NO FORCE ROW LEVEL SECURITY;
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
INSERT INTO public_ids (tenant_id, id) SELECT tenant_id, id FROM accounts;
ALTER TABLE public_ids FORCE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;

-- Keys of users. Like a session's, a key's tenant is looked for as the kernel role.
CREATE TABLE credentials (
    tenant_id uuid NOT NULL,
    access_key text NOT NULL UNIQUE,
    user_id bigint NOT NULL,
    secret_digest bytea NOT NULL,
    label text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (tenant_id, access_key)
);
CREATE INDEX ON credentials (tenant_id, user_id);
SELECT es_tenant_table('credentials'), es_kernel_table('credentials', 'SELECT');

-- When a key was last shown, and from where: no projection, because a use is no event.
CREATE TABLE credential_uses (
    tenant_id uuid NOT NULL,
    access_key text NOT NULL,
    used_at timestamptz NOT NULL,
    used_from text,
    PRIMARY KEY (tenant_id, access_key)
);
SELECT es_tenant_table('credential_uses');

-- Which of a session's secrets is which, what it rests on, and who is really behind it.
ALTER TABLE sessions
    ADD COLUMN kind text NOT NULL DEFAULT 'login',
    ADD COLUMN access_key text,
    ADD COLUMN real_tenant_id uuid,
    ADD COLUMN real_user_id bigint;
ALTER TABLE sessions ALTER COLUMN kind DROP DEFAULT;
