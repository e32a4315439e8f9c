DROP TABLE known_jobs, known_tasks, known_projects, frame_index, upload_file, derived, blob;
