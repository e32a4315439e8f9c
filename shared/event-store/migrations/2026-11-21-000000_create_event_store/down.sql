DROP SCHEMA rebuild CASCADE;
DROP TABLE inbox_parked, inbox_stream, inbox_offset, es_job, es_idempotency, es_checkpoint, es_lease,
    es_contract_position, es_contract_pending, es_event_position, es_event_pending, es_head,
    es_contract, es_event, es_stream;
DROP FUNCTION es_numbered_table(text), es_kernel_table(regclass, text), es_tenant_table(regclass), es_tenant();
