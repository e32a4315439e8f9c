-- Here names are given out, so each is given once. Other services keep copies, which may be a moment late; they
-- have plain indexes, which these replace.
DROP INDEX directory_users_tenant_id_username_idx, directory_organizations_tenant_id_slug_idx,
    directory_memberships_tenant_id_organization_id_user_id_idx;
ALTER TABLE directory_users ADD UNIQUE (tenant_id, username);
ALTER TABLE directory_organizations ADD UNIQUE (tenant_id, slug);
ALTER TABLE directory_memberships ADD UNIQUE (tenant_id, organization_id, user_id);
