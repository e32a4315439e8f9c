ALTER TABLE event ADD COLUMN impersonator_id bigint;
