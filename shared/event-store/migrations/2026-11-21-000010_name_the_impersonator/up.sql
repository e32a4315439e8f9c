-- Who really called, when they did it as `actor_id`: told to consumers too, and by the name that they know it by.
ALTER TABLE es_event RENAME COLUMN acting_for TO impersonator_id;
ALTER TABLE es_contract ADD COLUMN impersonator_id bigint;
