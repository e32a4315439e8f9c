DROP TABLE task_labels, requests, project_tasks, project_jobs, task_jobs, jobs, tasks;
