DROP TABLE reservation, seat, quota, known_tenant, level_quarter, level_segment, usage_quarter, usage_fact;
