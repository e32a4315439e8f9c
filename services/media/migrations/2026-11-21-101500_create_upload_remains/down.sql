DROP TABLE upload_remains;
