DROP TABLE labels, projects;
