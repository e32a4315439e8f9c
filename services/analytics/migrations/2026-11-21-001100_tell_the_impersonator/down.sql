ALTER TABLE event DROP COLUMN impersonator_id;
