-- Of every tenant, which the wall would not let anybody delete.
ALTER TABLE directory_organizations NO FORCE ROW LEVEL SECURITY;
DELETE FROM directory_organizations WHERE ended;
ALTER TABLE directory_organizations FORCE ROW LEVEL SECURITY;
ALTER TABLE directory_organizations DROP COLUMN ended;
DROP INDEX directory_users_tenant_id_username_idx, directory_organizations_tenant_id_slug_idx,
    directory_memberships_tenant_id_organization_id_user_id_idx;
ALTER TABLE directory_users ADD UNIQUE (tenant_id, username);
ALTER TABLE directory_organizations ADD UNIQUE (tenant_id, slug);
ALTER TABLE directory_memberships ADD UNIQUE (tenant_id, organization_id, user_id);
