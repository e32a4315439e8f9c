ALTER TABLE es_contract DROP COLUMN impersonator_id;
ALTER TABLE es_event RENAME COLUMN impersonator_id TO acting_for;
