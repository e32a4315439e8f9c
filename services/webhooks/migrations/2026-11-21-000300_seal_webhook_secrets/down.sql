ALTER TABLE webhooks RENAME COLUMN sealed_secret TO secret;
