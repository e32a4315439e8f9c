-- What stands there is sealed since; see src/secrets.rs.
ALTER TABLE webhooks RENAME COLUMN secret TO sealed_secret;
