DROP TABLE deliveries, messages, known_projects, webhooks;
