DROP TABLE annotation_versions, annotations;
