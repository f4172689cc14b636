/**
 * What becomes of each field of INFO when several servers have one: the table of info_join.ts.
 *
 *   used_memory   900, 100   SUM    1000        rdb_last_bgsave_status   ok, err       WORST   err
 *   redis_mode    both       FIRST  the first's  cmdstat_get  calls=3 …, calls=4 …      family  calls=7 …
 *
 * A field that is not here is the first server's: what is no count must not be added, and nobody can tell a count by its name.
 * Fields as in redis-server 7.0.15 and 8.6.3 and valkey-server 9.1.2, primaries and replicas (tests/vectors/info.json; a field
 * that is missing here fails tests/unit/redis_info_join_test.ts).
 */

export const RULE = {
  /** The first server's. */
  FIRST: 0,
  /** Counts, and amounts that are the pool's when taken together. */
  SUM: 1,
  /** States and peaks: what holds for one server holds for the pool. */
  MAX: 2,
  MIN: 3,
  /** The sum, but 0 if one is 0, since that means "no limit". */
  LIMIT: 4,
  /** The first that is not GOOD. */
  WORST: 5,
  /** Of the server that can do the least: says what programs may use. All from the same one. */
  IDENTITY: 6,
  /** Lines of which a section has several: those, by their names, that all servers have. */
  COMMON: 7,
  /** A field of bytes for people: made from the field without "_human", if that is added. */
  HUMAN: 8,
  /** One server's own affair: left out where there are several. */
  DROP: 9,
  /** Where that server listens: left out, since clients of the pool have nothing to look for there. */
  HIDE: 10,
} as const;

/** Values of WORST that mean nothing is wrong. */
export const GOOD: ReadonlySet<string> = new Set(["ok", "none", "noeviction", "no-failover"]);

const {
  FIRST,
  SUM,
  MAX,
  MIN,
  LIMIT,
  WORST,
  IDENTITY,
  COMMON,
  HUMAN,
  DROP,
  HIDE,
} = RULE;

const FIELDS: readonly (readonly [rule: number, names: string])[] = [
  // Server
  [IDENTITY, "redis_version redis_git_sha1 redis_git_dirty redis_build_id server_name valkey_version"],
  [IDENTITY, "valkey_release_stage"],
  [FIRST, "redis_mode server_mode os arch_bits monotonic_clock multiplexing_api atomicvar_api gcc_version"],
  [FIRST, "process_id process_supervised run_id tcp_port server_time_usec uptime_in_seconds uptime_in_days"],
  [FIRST, "hz configured_hz clients_hz lru_clock executable config_file availability_zone"],
  [MAX, "io_threads_active"],
  // TLS
  [FIRST, "tls_server_cert_serial tls_server_cert_expires_in_seconds tls_client_cert_serial"],
  [FIRST, "tls_client_cert_expires_in_seconds tls_ca_cert_serial tls_ca_cert_expires_in_seconds"],
  // Clients
  [FIRST, "connected_clients cluster_connections maxclients"],
  [MAX, "client_recent_max_input_buffer client_recent_max_output_buffer paused_timeout_milliseconds"],
  [SUM, "blocked_clients tracking_clients pubsub_clients watching_clients clients_in_timeout_table"],
  [SUM, "total_watched_keys total_blocking_keys total_blocking_keys_on_nokey"],
  [WORST, "paused_reason paused_actions"],
  // Memory
  [SUM, "used_memory used_memory_rss used_memory_peak used_memory_overhead used_memory_startup"],
  [SUM, "used_memory_dataset used_memory_lua used_memory_vm_eval used_memory_scripts_eval"],
  [SUM, "used_memory_vm_functions used_memory_vm_total used_memory_functions used_memory_scripts"],
  [SUM, "allocator_allocated allocator_active allocator_resident allocator_muzzy allocator_frag_bytes"],
  [SUM, "allocator_rss_bytes rss_overhead_bytes mem_fragmentation_bytes mem_not_counted_for_evict"],
  [SUM, "mem_replication_backlog mem_total_replication_buffers mem_replica_full_sync_buffer"],
  [SUM, "mem_replicas_repl_buffer mem_clients_slaves mem_clients_normal mem_cluster_links"],
  [SUM, "mem_cluster_slot_migration_output_buffer mem_cluster_slot_migration_input_buffer"],
  [SUM, "mem_cluster_slot_import mem_cluster_slot_export mem_aof_buffer"],
  [SUM, "mem_overhead_db_hashtable_rehashing lazyfree_pending_objects lazyfreed_objects"],
  [SUM, "number_of_cached_scripts"],
  // Functions are loaded on every server.
  [MAX, "number_of_functions number_of_libraries mem_cluster_slot_migration_input_buffer_peak"],
  [MAX, "used_memory_peak_time used_memory_peak_perc used_memory_dataset_perc active_defrag_running"],
  [MAX, "allocator_frag_ratio allocator_rss_ratio rss_overhead_ratio mem_fragmentation_ratio"],
  [LIMIT, "maxmemory"],
  [WORST, "maxmemory_policy"],
  [HUMAN, "used_memory_human used_memory_rss_human used_memory_peak_human used_memory_lua_human"],
  [HUMAN, "used_memory_vm_total_human used_memory_scripts_human maxmemory_human"],
  [FIRST, "mem_allocator total_system_memory total_system_memory_human"],
  // Persistence
  [
    MAX,
    "loading async_loading current_cow_peak current_cow_size_age current_fork_perc rdb_bgsave_in_progress",
  ],
  [MAX, "rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves_consecutive_failures"],
  [MAX, "rdb_last_cow_size aof_last_cow_size module_fork_last_cow_size module_fork_in_progress"],
  [MAX, "slot_migration_fork_in_progress aof_rewrite_in_progress aof_rewrite_scheduled aof_pending_rewrite"],
  [MAX, "aof_last_rewrite_time_sec aof_current_rewrite_time_sec aof_rewrites_consecutive_failures"],
  [SUM, "current_cow_size current_save_keys_processed current_save_keys_total rdb_changes_since_last_save"],
  [SUM, "rdb_saves rdb_last_load_keys_expired rdb_last_load_keys_loaded aof_rewrites aof_current_size"],
  [SUM, "aof_base_size aof_buffer_length aof_pending_bio_fsync aof_delayed_fsync"],
  [MIN, "rdb_last_save_time aof_enabled loading_start_time loading_loaded_perc"],
  [SUM, "loading_total_bytes loading_rdb_used_mem loading_loaded_bytes"],
  [MAX, "loading_eta_seconds"],
  [WORST, "rdb_last_bgsave_status aof_last_bgrewrite_status aof_last_write_status"],
  // Stats
  [FIRST, "total_connections_received total_commands_processed"],
  [SUM, "instantaneous_ops_per_sec total_net_input_bytes total_net_output_bytes"],
  [SUM, "total_net_repl_input_bytes total_net_repl_output_bytes total_net_cluster_slot_import_bytes"],
  [SUM, "total_net_cluster_slot_export_bytes instantaneous_input_kbps instantaneous_output_kbps"],
  [SUM, "instantaneous_input_repl_kbps instantaneous_output_repl_kbps rejected_connections"],
  [SUM, "sync_full sync_partial_ok sync_partial_err expired_keys expired_keys_active expired_subkeys"],
  [SUM, "expired_subkeys_active expired_fields expired_time_cap_reached_count expire_cycle_cpu_milliseconds"],
  [SUM, "evicted_keys evicted_clients evicted_scripts total_eviction_exceeded_time keyspace_hits"],
  [SUM, "keyspace_misses pubsub_channels pubsubshard_channels total_forks migrate_cached_sockets"],
  [SUM, "slave_expires_tracked_keys active_defrag_hits active_defrag_misses active_defrag_key_hits"],
  [SUM, "active_defrag_key_misses total_active_defrag_time tracking_total_keys tracking_total_items"],
  [SUM, "tracking_total_prefixes unexpected_error_replies total_error_replies dump_payload_sanitizations"],
  [SUM, "total_reads_processed total_writes_processed io_threaded_reads_processed"],
  [SUM, "io_threaded_writes_processed io_threaded_freed_objects io_threaded_accept_processed"],
  [SUM, "io_threaded_poll_processed io_threaded_total_prefetch_batches io_threaded_total_prefetch_entries"],
  [SUM, "client_query_buffer_limit_disconnections client_output_buffer_limit_disconnections"],
  [SUM, "reply_buffer_shrinks reply_buffer_expands eventloop_cycles eventloop_duration_sum"],
  [SUM, "eventloop_duration_cmd_sum instantaneous_eventloop_cycles_per_sec acl_access_denied_auth"],
  [SUM, "acl_access_denied_cmd acl_access_denied_key acl_access_denied_channel acl_access_denied_tls_cert"],
  [SUM, "acl_access_denied_db"],
  // Patterns are watched on every server.
  [MAX, "pubsub_patterns latest_fork_usec current_eviction_exceeded_time current_active_defrag_time"],
  [MAX, "expired_stale_perc expired_keys_with_volatile_items_stale_perc"],
  [MAX, "instantaneous_eventloop_duration_usec"],
  // Replication: a pool is one primary to its clients.
  [SUM, "connected_slaves replicas_waiting_psync"],
  [WORST, "master_failover_state"],
  [MIN, "min_slaves_good_slaves"],
  [FIRST, "role master_replid master_replid2 master_repl_offset second_repl_offset repl_backlog_active"],
  [FIRST, "repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen"],
  [DROP, "master_host master_port master_link_status master_last_io_seconds_ago master_sync_in_progress"],
  [DROP, "master_sync_total_bytes master_sync_read_bytes master_sync_left_bytes master_sync_perc"],
  [DROP, "master_sync_last_io_seconds_ago master_link_down_since_seconds master_link_up_since_seconds"],
  [DROP, "master_current_sync_attempts master_total_sync_attempts master_client_io_thread"],
  [DROP, "slave_read_repl_offset slave_repl_offset slave_priority slave_read_only replica_announced"],
  [DROP, "replica_full_sync_buffer_size replica_full_sync_buffer_peak replicas_repl_buffer_size"],
  [DROP, "replicas_repl_buffer_peak total_disconnect_time_sec"],
  // CPU
  [SUM, "used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children"],
  [SUM, "used_cpu_sys_main_thread used_cpu_user_main_thread used_active_time_main_thread"],
  // Modules, Cluster, Scripting Engines
  [COMMON, "module"],
  [FIRST, "cluster_enabled engines_count"],
  [SUM, "engines_total_used_memory engines_total_memory_overhead"],
];

const RULES: ReadonlyMap<string, number> = new Map(
  FIELDS.flatMap(([rule, names]) => names.split(" ").map((name) => [name, rule] as const)),
);

/** Fields with a number or a name inside, one line for each; undefined = what these are of is unknown here. */
const NUMBERED: readonly (readonly [name: RegExp, rule: number])[] = [
  [/^slave\d+$/, DROP],
  [/^listener\d+$/, HIDE],
];

/** One of RULE; undefined if the table does not know the field. */
export function ruleOf(field: string): number | undefined {
  return RULES.get(field) ?? NUMBERED.find(([name]) => name.test(field))?.[1];
}

/** How the values of a line `name:key=value,key=value` are joined, by key; "*" is for all others. */
export interface PairRules {
  readonly [key: string]: PairRule;
}

/** A rule; or a mean: of `by`, weighted; or a quotient of two other keys of the line. */
export type PairRule = number | { readonly mean: true; readonly by: string } | {
  readonly quotient: readonly [string, string];
};

const FAMILIES: readonly (readonly [name: RegExp, rules: PairRules])[] = [
  [/^cmdstat_/, {
    calls: SUM,
    usec: SUM,
    usec_per_call: { quotient: ["usec", "calls"] },
    rejected_calls: SUM,
    failed_calls: SUM,
  }],
  [/^errorstat_/, { count: SUM }],
  [/^latency_percentiles_usec_/, { "*": MAX }],
  [/^db\d+$/, {
    keys: SUM,
    expires: SUM,
    avg_ttl: { mean: true, by: "expires" },
    subexpiry: SUM,
    keys_with_volatile_items: SUM,
  }],
  // Size=keys, …
  [/^db\d+_distrib_[a-z_]+$/, { "*": SUM }],
  [/^io_thread_\d+$/, { clients: SUM, reads: SUM, writes: SUM }],
  [/^engine_\d+$/, { used_memory: SUM, memory_overhead: SUM }],
];

/** The rules of a line of pairs; undefined if it is none that is known. */
export function pairRulesOf(field: string): PairRules | undefined {
  return FAMILIES.find(([name]) => name.test(field))?.[1];
}
