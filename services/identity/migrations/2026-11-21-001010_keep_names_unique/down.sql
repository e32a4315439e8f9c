ALTER TABLE directory_users DROP CONSTRAINT directory_users_tenant_id_username_key;
CREATE INDEX ON directory_users (tenant_id, username);
ALTER TABLE directory_organizations DROP CONSTRAINT directory_organizations_tenant_id_slug_key;
CREATE INDEX ON directory_organizations (tenant_id, slug);
ALTER TABLE directory_memberships DROP CONSTRAINT directory_memberships_tenant_id_organization_id_user_id_key;
CREATE INDEX ON directory_memberships (tenant_id, organization_id, user_id);
