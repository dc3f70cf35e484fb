-- Where a shard has of the catalog what the log has not: `rolecall-shards rebuild-catalog` puts the log's in its place.
GRANT DELETE ON roles, permissions, shard_map, shard_placement TO rolecall_operator;
