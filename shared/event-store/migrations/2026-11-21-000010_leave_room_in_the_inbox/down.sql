ALTER TABLE inbox_stream RESET (fillfactor);
