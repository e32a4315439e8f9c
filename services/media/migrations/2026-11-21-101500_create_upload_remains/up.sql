-- Uploads that are over, and whose pieces are to be removed from the storage: at once, and once more when nobody can
-- be about to store another piece of them. So a piece is never without a row, whenever a process dies.
CREATE TABLE upload_remains (
    tenant_id uuid NOT NULL,
    upload_id uuid NOT NULL,
    gone_at timestamptz NOT NULL,
    -- Whether they were removed once.
    swept boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, upload_id)
);
SELECT es_tenant_table('upload_remains');
