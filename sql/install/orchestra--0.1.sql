\echo Use "CREATE EXTENSION orchestra" to load this file. \quit

-- The audit of every recovery and change. Written by orchestra_record() on the primary only; replication
-- carries the rows to every other node. `key` names the event that a row stems from, so that an
-- event which is delivered twice is recorded once.

CREATE TABLE orchestra_detection (
    key         text PRIMARY KEY,
    at          timestamptz NOT NULL,
    coordinator text NOT NULL,
    epoch       text NOT NULL,
    node        text,
    detail      text NOT NULL,
    next        text,
    recovery    text
);
COMMENT ON TABLE orchestra_detection IS 'problems that a coordinator of this cluster detected';

CREATE TABLE orchestra_recovery (
    recovery    text PRIMARY KEY,
    coordinator text NOT NULL,
    epoch       text NOT NULL,
    failed_node text,
    new_epoch   text,
    new_primary text,
    forced      text,
    outcome     text NOT NULL DEFAULT 'running'
                CHECK (outcome IN ('running', 'blocked', 'activated', 'recovered')),
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz
);
COMMENT ON TABLE orchestra_recovery IS 'recoveries of this cluster';

CREATE TABLE orchestra_recovery_step (
    recovery    text NOT NULL REFERENCES orchestra_recovery ON DELETE CASCADE,
    step        integer NOT NULL,
    key         text NOT NULL UNIQUE,
    at          timestamptz NOT NULL,
    coordinator text NOT NULL,
    epoch       text NOT NULL,
    kind        text NOT NULL,
    node        text,
    detail      text NOT NULL,
    next        text,
    PRIMARY KEY (recovery, step)
);
COMMENT ON TABLE orchestra_recovery_step IS 'what was done in each recovery, in order';

CREATE TABLE orchestra_lost_transaction (
    recovery text NOT NULL REFERENCES orchestra_recovery ON DELETE CASCADE,
    node     text NOT NULL,
    lsn      pg_lsn NOT NULL,
    xid      xid8 NOT NULL,
    what     text NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (recovery, node, lsn)
);
COMMENT ON TABLE orchestra_lost_transaction IS
    'what a former primary committed and the cluster went on without';

CREATE TABLE orchestra_change (
    key         text PRIMARY KEY,
    at          timestamptz NOT NULL,
    coordinator text NOT NULL,
    epoch       text NOT NULL,
    detail      text NOT NULL,
    next        text
);
COMMENT ON TABLE orchestra_change IS
    'changes of the register that operators asked for, and of what orchestra sets in PostgreSQL';

SELECT pg_catalog.pg_extension_config_dump('orchestra_change', '');
SELECT pg_catalog.pg_extension_config_dump('orchestra_detection', '');
SELECT pg_catalog.pg_extension_config_dump('orchestra_lost_transaction', '');
SELECT pg_catalog.pg_extension_config_dump('orchestra_recovery', '');
SELECT pg_catalog.pg_extension_config_dump('orchestra_recovery_step', '');

-- Forming a cluster.

CREATE FUNCTION orchestra_create_cluster(
    nodes        text[],
    mode         text,
    durability   text DEFAULT 'quorum',
    name         text DEFAULT 'orchestra',
    lease_ttl_ms integer DEFAULT 2000,
    wait         interval DEFAULT '30 s'
) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_create_cluster(text[], text, text, text, integer, interval) IS
    'makes these nodes, of which this is the primary, the voters of a new cluster';

-- Changing it, from any node: the coordinator commits or refuses.

CREATE FUNCTION orchestra_set_voters(voters text[], wait interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_set_voters(text[], interval) IS
    'makes these members, and no others, the voters';

CREATE FUNCTION orchestra_set_node(
    name           text,
    sync_candidate boolean DEFAULT NULL,
    zone           text DEFAULT NULL,
    wait           interval DEFAULT '30 s'
) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_set_node(text, boolean, text, interval) IS
    'whether commits may be counted on a member, and in which zone it is';

CREATE FUNCTION orchestra_remove_node(name text, wait interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_remove_node(text, interval) IS
    'ends the membership of a node without a vote';

CREATE FUNCTION orchestra_failover(
    target           text DEFAULT NULL,
    accept_data_loss boolean DEFAULT false,
    confirm          text DEFAULT NULL,
    wait             interval DEFAULT '30 s'
) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_failover(text, boolean, text, interval) IS
    'makes another node the primary; with accept_data_loss, also where commits may be lost';

CREATE FUNCTION orchestra_set_mode(mode text, wait interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_set_mode(text, interval) IS
    'how much the cluster does by itself: observe, manual or automatic';

CREATE FUNCTION orchestra_pause(wait interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_pause(interval) IS
    'no failover but by call, until orchestra_resume()';

CREATE FUNCTION orchestra_resume(wait interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_resume(interval) IS 'ends orchestra_pause()';

CREATE FUNCTION orchestra_set(name text, value text, wait interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_set(text, text, interval) IS 'changes a setting of the cluster';

CREATE FUNCTION orchestra_drop_cluster(wait interval DEFAULT '60 s') RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_drop_cluster(interval) IS
    'makes plain PostgreSQL servers of all members';

CREATE FUNCTION orchestra_confirm_identity() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_confirm_identity() IS
    'vouches that the files of this node are its newest and its only ones';

-- Looking. All of these read shared memory, on a standby and on a fenced node as well.

CREATE FUNCTION orchestra_version() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION orchestra_version() IS 'version of the loaded library';

CREATE FUNCTION orchestra_status(
    OUT id             integer,
    OUT name           text,
    OUT role           text,
    OUT state          text,
    OUT timeline       bigint,
    OUT flush_lsn      pg_lsn,
    OUT replay_lsn     pg_lsn,
    OUT lag_bytes      bigint,
    OUT sync_state     text,
    OUT voter          boolean,
    OUT coordinator    boolean,
    OUT lease_ms_left  bigint,
    OUT fenced         text,
    OUT version        text,
    OUT server_version integer,
    OUT address        text,
    OUT seen_ago_ms    bigint,
    OUT source         text,
    OUT problem        text,
    OUT zone           text
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 5;
COMMENT ON FUNCTION orchestra_status() IS 'one row a node, as this node knows it';

CREATE FUNCTION orchestra_cluster(
    OUT name             text,
    OUT cluster_id       text,
    OUT phase            text,
    OUT version          bigint,
    OUT epoch            text,
    OUT active           boolean,
    OUT primary_node     text,
    OUT coordinator      text,
    OUT voters           text[],
    OUT majority         integer,
    OUT reachable_voters integer,
    OUT durability       text,
    OUT sync_nodes       text[],
    OUT sync_k           integer,
    OUT lease_ttl_ms     integer,
    OUT mode             text,
    OUT paused           boolean,
    OUT voters_changing  boolean,
    OUT on_no_sync       text,
    OUT auto_voters      boolean,
    OUT drift_permille   integer,
    OUT former_clusters  integer,
    OUT dropped          boolean,
    OUT sync_copies      integer,
    OUT min_sync_copies  integer,
    OUT sync_zone        text,
    OUT max_failover_lag_bytes bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION orchestra_cluster() IS 'the committed register, as this node knows it';

CREATE FUNCTION orchestra_gate(
    OUT open          boolean,
    OUT gated         boolean,
    OUT lease_left_ms bigint,
    OUT refused       bigint,
    OUT suppressed    bigint,
    OUT lifted        bigint,
    OUT weak          bigint,
    OUT ended         bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION orchestra_gate() IS
    'the gate of this node, and what it did since the start of this server';

CREATE FUNCTION orchestra_analysis(
    OUT source         text,
    OUT node           text,
    OUT code           text,
    OUT action         text,
    OUT reachable      boolean,
    OUT evidence       text,
    OUT checked_ago_ms bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 5;
COMMENT ON FUNCTION orchestra_analysis() IS
    'the finding of the rule table, and what the monitor of this node found by logging in';

CREATE FUNCTION orchestra_rules(
    OUT rule      integer,
    OUT code      text,
    OUT action    text,
    OUT condition text
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION orchestra_rules() IS 'the rule table: the first rule that holds is the finding';

CREATE FUNCTION orchestra_recoveries() RETURNS SETOF orchestra_recovery
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT r.* FROM orchestra_recovery r ORDER BY r.started_at, r.recovery;
END;
COMMENT ON FUNCTION orchestra_recoveries() IS 'recoveries, oldest first';

CREATE FUNCTION orchestra_recovery_steps(recovery text) RETURNS SETOF orchestra_recovery_step
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT s.* FROM orchestra_recovery_step s
     WHERE s.recovery = orchestra_recovery_steps.recovery ORDER BY s.step;
END;
COMMENT ON FUNCTION orchestra_recovery_steps(text) IS 'the steps of one recovery, in order';

CREATE FUNCTION orchestra_former_value(name text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION orchestra_former_value(text) IS
    'internal: what a setting of PostgreSQL was before orchestra set it';

CREATE FUNCTION orchestra_settings(
    OUT name          text,
    OUT value         text,
    OUT source        text,
    OUT context       text,
    OUT needs_restart boolean,
    OUT description   text,
    OUT former_value  text
) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.name, s.value, 'cluster', s.context, false, s.description, NULL
      FROM orchestra_cluster() c,
           LATERAL (VALUES
               ('name', c.name, 'orchestra_create_cluster()', 'Name of the cluster.'),
               ('mode', c.mode, 'orchestra_set_mode()',
                'How much the cluster does by itself: observe, manual or automatic.'),
               ('paused', CASE WHEN c.paused THEN 'on' ELSE 'off' END,
                'orchestra_pause(), orchestra_resume()', 'No failover but by call.'),
               ('durability', c.durability, 'orchestra_set()',
                'When a commit is acknowledged.'),
               ('on_no_sync', c.on_no_sync, 'orchestra_set()',
                'What becomes of commits that no standby is left for: refuse or degrade.'),
               ('sync_copies', c.sync_copies::text, 'orchestra_set()',
                'Standbys that confirm a commit before it is acknowledged.'),
               ('min_sync_copies', c.min_sync_copies::text, 'orchestra_set()',
                'With fewer standbys in the synchronous set, on_no_sync decides.'),
               ('sync_zone', c.sync_zone, 'orchestra_set()',
                'Who is counted for commits: any standby, or only one of another zone.'),
               ('max_failover_lag_bytes', c.max_failover_lag_bytes::text, 'orchestra_set()',
                'In durability async: what a failover by itself may lose at most.'),
               ('auto_voters', CASE WHEN c.auto_voters THEN 'on' ELSE 'off' END, 'orchestra_set()',
                'Members that are caught up get a vote by themselves.'),
               ('lease_ttl_ms', c.lease_ttl_ms::text, 'orchestra_set()',
                'Lease of the primary role, in milliseconds.'),
               ('drift_permille', c.drift_permille::text, 'orchestra_set()',
                'Clock drift that leases allow for, in thousandths.')
           ) AS s (name, value, context, description)
     WHERE c.mode IS NOT NULL
    UNION ALL
    SELECT s.name, s.setting, 'node', s.context, s.context = 'postmaster', s.short_desc, NULL
      FROM pg_catalog.pg_settings s
     WHERE s.name LIKE 'orchestra.%'
    UNION ALL
    SELECT s.name,
           CASE WHEN s.name <> 'primary_conninfo' OR s.setting = '' THEN s.setting ELSE '(set)' END,
           'postgresql', s.context, s.context = 'postmaster', s.short_desc,
           orchestra_former_value(s.name)
      FROM pg_catalog.pg_settings s
     WHERE s.name IN ('primary_conninfo', 'synchronous_standby_names');
END;
COMMENT ON FUNCTION orchestra_settings() IS
    'settings of the cluster and of this node, and what orchestra sets in PostgreSQL';

-- Preflight: what is looked at before a cluster is formed, and at any time later.

CREATE FUNCTION orchestra_check(
    nodes    text[] DEFAULT NULL,
    OUT severity text,
    OUT node     text,
    OUT peer     text,
    OUT item     text,
    OUT found    text,
    OUT fix      text
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION orchestra_check(text[]) IS
    'whether these nodes, or all that are known, are fit for a cluster, and what to do about it';

-- Internal: what a node tells for it. The part that only the library knows:
CREATE FUNCTION orchestra_node_facts(
    peers     text[],
    proof     bytea,
    OUT kind  text,
    OUT name  text,
    OUT value text
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION orchestra_node_facts(text[], bytea) IS
    'internal: what the library knows of this node; with a proof of the secret, logins to peers';

-- Values that may hold a password stay here.
CREATE FUNCTION orchestra_facts(
    peers     text[] DEFAULT '{}',
    proof     bytea DEFAULT '',
    OUT kind  text,
    OUT name  text,
    OUT value text
) RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE ROWS 100
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH managed (name) AS (
        VALUES ('primary_conninfo'), ('synchronous_standby_names')
    ), settings AS (
        SELECT s.name, s.setting, s.source, s.sourcefile, s.sourceline, s.pending_restart
          FROM pg_settings s
         WHERE s.name IN (SELECT m.name FROM managed m)
            OR s.name LIKE 'recovery\_target%'
            OR s.name IN ('allow_alter_system', 'data_checksums', 'hba_file', 'hot_standby',
                          'listen_addresses', 'max_replication_slots', 'max_wal_senders',
                          'max_worker_processes', 'orchestra.seeds', 'password_encryption',
                          'restart_after_crash', 'server_version_num', 'synchronous_commit',
                          'wal_level', 'wal_log_hints', 'wal_retrieve_retry_interval')
    ), lines AS (
        SELECT f.*, f.sourcefile || ':' || f.sourceline AS line,
               f.sourcefile LIKE '%/postgresql.auto.conf' AS auto
          FROM pg_file_settings f
    ), workers AS (
        SELECT a.backend_type FROM pg_stat_activity a
         WHERE a.backend_type NOT IN
               ('archiver', 'autovacuum launcher', 'autovacuum worker', 'background writer',
                'checkpointer', 'client backend', 'io worker', 'logger', 'parallel worker',
                'slotsync worker', 'standalone backend', 'startup', 'walreceiver', 'walsender',
                'walsummarizer', 'walwriter')
    )
    SELECT 'node', 'in_recovery', CASE WHEN pg_is_in_recovery() THEN 't' ELSE 'f' END
    UNION ALL
    SELECT 'node', 'workers_used', count(*)::text FROM workers w
    UNION ALL
    SELECT 'node', 'workers', count(*)::text FROM workers w
     WHERE w.backend_type LIKE 'orchestra %'
    UNION ALL
    SELECT 'setting', s.name,
           CASE WHEN s.name = 'primary_conninfo' AND s.setting <> '' THEN 'set' ELSE s.setting END
      FROM settings s
    UNION ALL
    SELECT 'source', s.name, coalesce(s.sourcefile || ':' || s.sourceline, s.source)
      FROM settings s WHERE s.source <> 'default'
    UNION ALL
    SELECT 'pending', s.name, 'restart' FROM settings s WHERE s.pending_restart
    UNION ALL
    SELECT 'later file', l.name, l.line
      FROM lines l WHERE l.name IN (SELECT m.name FROM managed m) AND NOT l.auto
                     AND l.seqno > (SELECT min(a.seqno) FROM lines a WHERE a.auto)
    UNION ALL
    SELECT 'file error', l.line, l.error
      FROM lines l LEFT JOIN pg_settings s ON s.name = lower(l.name)
     WHERE l.error IS NOT NULL  -- of the first kind are also those that wait for a restart
       AND (l.error <> 'setting could not be applied' OR s.context <> 'postmaster')
    UNION ALL
    SELECT 'override',
           CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ROLE ALL'
                WHEN s.setrole = 0 THEN 'DATABASE ' || quote_ident(d.datname)
                ELSE 'ROLE ' || quote_ident(r.rolname)
                     || coalesce(' IN DATABASE ' || quote_ident(d.datname), '') END,
           split_part(c.entry, '=', 2)
      FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS c (entry)
      LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
     WHERE c.entry LIKE 'synchronous\_commit=%'
    UNION ALL
    SELECT 'streams', r.application_name, r.state FROM pg_stat_replication r
    UNION ALL
    SELECT f.kind, f.name, f.value
      FROM orchestra_node_facts(orchestra_facts.peers, orchestra_facts.proof) f;
END;
COMMENT ON FUNCTION orchestra_facts(text[], bytea) IS
    'internal: what orchestra_check() wants to know of this node';

-- Internal: what a coordinator's login may call. Each refuses what no committed epoch says.

CREATE FUNCTION orchestra_promote(epoch text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_promote(text) IS
    'internal: perform now that the committed epoch makes this node the primary';

CREATE FUNCTION orchestra_repoint(epoch text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_repoint(text) IS
    'internal: perform now that this node follows the primary of the committed epoch';

CREATE FUNCTION orchestra_check_record(epoch text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION orchestra_check_record(text) IS
    'internal: refuses a record that is not about a committed epoch, or not on an open primary';

CREATE FUNCTION orchestra_record(
    key         text,
    at          timestamptz,
    coordinator text,
    kind        text,
    epoch       text,
    node        text,
    detail      text,
    next        text,
    recovery    text
) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT orchestra_check_record(orchestra_record.epoch);
    INSERT INTO orchestra_detection
    SELECT orchestra_record.key, orchestra_record.at, orchestra_record.coordinator,
           orchestra_record.epoch, orchestra_record.node, orchestra_record.detail,
           orchestra_record.next, orchestra_record.recovery
     WHERE orchestra_record.kind = 'detected'
        ON CONFLICT DO NOTHING;
    INSERT INTO orchestra_change
    SELECT orchestra_record.key, orchestra_record.at, orchestra_record.coordinator,
           orchestra_record.epoch, orchestra_record.detail, orchestra_record.next
     WHERE orchestra_record.kind IN ('register_changed', 'setting_repaired', 'loss_accepted')
        ON CONFLICT DO NOTHING;
    INSERT INTO orchestra_recovery (recovery, coordinator, epoch, failed_node, started_at)
    SELECT orchestra_record.recovery, orchestra_record.coordinator, orchestra_record.epoch,
           CASE WHEN orchestra_record.kind <> 'forced_recovery' THEN orchestra_record.node END,
           orchestra_record.at
     WHERE orchestra_record.recovery IS NOT NULL
        ON CONFLICT DO NOTHING;
    INSERT INTO orchestra_recovery_step
    SELECT orchestra_record.recovery,
           (SELECT coalesce(pg_catalog.max(s.step), 0) + 1
              FROM orchestra_recovery_step s WHERE s.recovery = orchestra_record.recovery),
           orchestra_record.key, orchestra_record.at, orchestra_record.coordinator,
           orchestra_record.epoch, orchestra_record.kind, orchestra_record.node,
           orchestra_record.detail, orchestra_record.next
     WHERE orchestra_record.recovery IS NOT NULL
        ON CONFLICT (key) DO NOTHING;
    UPDATE orchestra_recovery r
       SET outcome = CASE orchestra_record.kind
                     WHEN 'failover_blocked' THEN 'blocked'
                     WHEN 'candidate_chosen' THEN 'running'
                     WHEN 'activated' THEN 'activated'
                     WHEN 'recovered' THEN 'recovered'
                     ELSE r.outcome END,
           new_epoch = CASE WHEN orchestra_record.kind IN
                                 ('epoch_committed', 'activated', 'forced_recovery')
                       THEN orchestra_record.epoch ELSE r.new_epoch END,
           new_primary = CASE WHEN orchestra_record.kind IN
                                   ('epoch_committed', 'activated', 'forced_recovery')
                         THEN orchestra_record.node ELSE r.new_primary END,
           forced = CASE orchestra_record.kind
                    WHEN 'forced_recovery' THEN orchestra_record.detail ELSE r.forced END,
           ended_at = CASE orchestra_record.kind
                      WHEN 'recovered' THEN orchestra_record.at ELSE r.ended_at END
     WHERE r.recovery = orchestra_record.recovery AND r.outcome <> 'recovered';
END;
COMMENT ON FUNCTION orchestra_record(text, timestamptz, text, text, text, text, text, text, text) IS
    'internal: records one event of a coordinator, once';

CREATE FUNCTION orchestra_record_loss(
    key    text,
    at     timestamptz,
    node   text,
    epoch  text,
    detail text,
    next   text,
    xids   xid8[],
    whats  text[],
    times  timestamptz[],
    lsns   pg_lsn[]
) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT orchestra_check_record(orchestra_record_loss.epoch);
    SELECT orchestra_record(orchestra_record_loss.key, orchestra_record_loss.at,
                            orchestra_record_loss.node, 'loss_measured',
                            orchestra_record_loss.epoch, orchestra_record_loss.node,
                            orchestra_record_loss.detail, orchestra_record_loss.next,
                            orchestra_record_loss.epoch)
     WHERE pg_catalog.cardinality(orchestra_record_loss.lsns) >=  -- else WAL was recycled since
           (SELECT count(*) FROM orchestra_lost_transaction l
             WHERE l.recovery = orchestra_record_loss.epoch
               AND l.node = orchestra_record_loss.node);
    INSERT INTO orchestra_lost_transaction
    SELECT orchestra_record_loss.epoch, orchestra_record_loss.node, l.lsn, l.xid, l.what, l.at
      FROM ROWS FROM (unnest(orchestra_record_loss.lsns), unnest(orchestra_record_loss.xids),
                      unnest(orchestra_record_loss.whats), unnest(orchestra_record_loss.times))
           AS l (lsn, xid, what, at)
        ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION
    orchestra_record_loss(text, timestamptz, text, text, text, text, xid8[], text[], timestamptz[],
                          pg_lsn[]) IS
    'internal: records once what a former primary found in its own WAL';

CREATE FUNCTION orchestra_grant(grantee name DEFAULT 'orchestra') RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), grantee);
    EXECUTE format('GRANT pg_monitor TO %I', grantee);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', '@extschema@', grantee);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %1$s.orchestra_record, %1$s.orchestra_record_loss, '
                   '%1$s.orchestra_promote, %1$s.orchestra_repoint, %1$s.orchestra_facts TO %2$I',
                   '@extschema@', grantee);
END
$$;
COMMENT ON FUNCTION orchestra_grant(name) IS
    'gives a role what the coordinators'' login needs, and no more';

-- Rights. Reading is for pg_monitor, forming a cluster for superusers, changing it for whom they
-- grant it to, the internal functions for the login of the coordinators: docs/reference.md, "The role orchestra".

REVOKE ALL ON FUNCTION
    orchestra_create_cluster, orchestra_set_voters, orchestra_set_node, orchestra_remove_node,
    orchestra_failover, orchestra_set_mode, orchestra_pause, orchestra_resume, orchestra_set,
    orchestra_drop_cluster, orchestra_confirm_identity, orchestra_version, orchestra_status,
    orchestra_cluster, orchestra_settings, orchestra_former_value, orchestra_analysis,
    orchestra_gate, orchestra_rules, orchestra_recoveries, orchestra_recovery_steps,
    orchestra_check, orchestra_node_facts, orchestra_facts,
    orchestra_promote, orchestra_repoint, orchestra_check_record, orchestra_record,
    orchestra_record_loss, orchestra_grant
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    orchestra_version, orchestra_status, orchestra_cluster, orchestra_settings,
    orchestra_former_value, orchestra_analysis, orchestra_gate, orchestra_rules,
    orchestra_recoveries, orchestra_recovery_steps
TO pg_monitor;
GRANT SELECT ON
    orchestra_change, orchestra_detection, orchestra_lost_transaction, orchestra_recovery,
    orchestra_recovery_step
TO pg_monitor;
