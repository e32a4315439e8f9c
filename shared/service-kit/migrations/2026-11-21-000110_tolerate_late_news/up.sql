-- Names are unique where they are given out, which is identity; its own migrations say so. Elsewhere who took a
-- name may be heard of before who gave it up, because they are two streams and streams keep no order among one
-- another.
ALTER TABLE directory_users DROP CONSTRAINT directory_users_tenant_id_username_key;
CREATE INDEX ON directory_users (tenant_id, username);
ALTER TABLE directory_organizations DROP CONSTRAINT directory_organizations_tenant_id_slug_key;
CREATE INDEX ON directory_organizations (tenant_id, slug);
ALTER TABLE directory_memberships DROP CONSTRAINT directory_memberships_tenant_id_organization_id_user_id_key;
CREATE INDEX ON directory_memberships (tenant_id, organization_id, user_id);

-- An organization that is no more keeps an empty row, so that nothing is created in it by whoever is late.
ALTER TABLE directory_organizations ADD COLUMN ended boolean NOT NULL DEFAULT false;
