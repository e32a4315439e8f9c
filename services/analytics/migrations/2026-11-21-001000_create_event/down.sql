DROP TABLE event_position, event_pending, event;
DELETE FROM es_head WHERE log = 'event';
