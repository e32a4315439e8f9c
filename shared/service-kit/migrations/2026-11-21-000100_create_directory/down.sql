DROP TABLE directory_memberships, directory_organizations, directory_users;
