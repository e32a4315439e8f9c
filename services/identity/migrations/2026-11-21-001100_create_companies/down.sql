ALTER TABLE sessions DROP COLUMN kind, DROP COLUMN access_key, DROP COLUMN real_tenant_id, DROP COLUMN real_user_id;
DROP TABLE credential_uses, credentials, public_ids, tenant_domains;
DROP INDEX tenants_display_name_key;
ALTER TABLE tenants DROP COLUMN display_name, DROP COLUMN allowed_users, DROP COLUMN features, DROP COLUMN exclude_features;
