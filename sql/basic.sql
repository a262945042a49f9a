-- What everybody meets first: an unconfigured server, and what it refuses.
\set SHOW_CONTEXT never
CREATE EXTENSION orchestra;
SELECT extversion = orchestra_version() AS same_version
  FROM pg_extension WHERE extname = 'orchestra';
SELECT objid::regprocedure FROM pg_depend JOIN pg_extension e ON refobjid = e.oid
 WHERE extname = 'orchestra' AND classid = 'pg_proc'::regclass AND deptype = 'e'
 ORDER BY objid::regprocedure::text;

-- The workers write the board as soon as they run.
CREATE FUNCTION wait_for_board() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..600 LOOP
        IF EXISTS (SELECT FROM orchestra_status() WHERE state = 'unconfigured') THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RETURN false;
END $$;
SELECT wait_for_board();

SELECT id, name IS NOT NULL AS named, role, state, lag_bytes, sync_state, voter, coordinator,
       lease_ms_left, fenced, version = orchestra_version() AS version,
       server_version = current_setting('server_version_num')::int AS server_version,
       flush_lsn <= pg_current_wal_lsn() AS flushed, seen_ago_ms < 2000 AS seen, source
  FROM orchestra_status();
SELECT * FROM orchestra_cluster();
SELECT source, node, code, action, reachable, checked_ago_ms < 2000 AS checked
  FROM orchestra_analysis();
SELECT * FROM orchestra_rules();
SELECT count(*) FROM orchestra_recoveries();
SELECT count(*) FROM orchestra_recovery_steps('1.1/1');

-- Nothing is gated.
CREATE TABLE plain AS SELECT 1 AS one;
DROP TABLE plain;
SELECT open, gated, lease_left_ms FROM orchestra_gate();

-- What orchestra_create_cluster() refuses.
SELECT orchestra_create_cluster('{n1}', 'manual');
\echo :SQLSTATE
\set VERBOSITY terse
SELECT orchestra_create_cluster('{n1}');
\echo :SQLSTATE
\set VERBOSITY default
SELECT orchestra_create_cluster('{n1}', 'observe', 'async');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', 'always');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'sometimes');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'quorum', 'automatic');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', name => '');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', name => repeat('n', 64));
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', name => E'two\nlines');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', lease_ttl_ms => 299);
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', lease_ttl_ms => 60001);
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', lease_ttl_ms => -1);
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1,null,n2}', 'manual');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', wait => '-1 s');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1}', 'manual', wait => '1 month');
\echo :SQLSTATE
SELECT orchestra_create_cluster(NULL, 'manual') IS NULL AS nothing;
SELECT orchestra_create_cluster('{n1}', NULL) IS NULL AS nothing;

-- A secret that is never read: the names are looked at first.
ALTER SYSTEM SET orchestra.secret_file = '/nonexistent';
SELECT pg_reload_conf();
CREATE FUNCTION wait_for_secret(wanted text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..600 LOOP
        IF current_setting('orchestra.secret_file') = wanted THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RETURN false;
END $$;
\c -
SELECT wait_for_secret('/nonexistent');
SELECT orchestra_create_cluster('{n1,n2}', 'automatic');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{}', 'automatic');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1,n2,n2}', 'automatic');
\echo :SQLSTATE
SELECT orchestra_create_cluster('{n1,"n 2",n3}', 'automatic');
\echo :SQLSTATE
\set VERBOSITY terse
SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic');
\echo :SQLSTATE
\set VERBOSITY default
-- Nobody comes: the error names who is missing, and nothing has changed.
SELECT name AS self FROM orchestra_status() WHERE source = 'self' \gset
SELECT orchestra_create_cluster(ARRAY[:'self', 'n2', 'n3'], 'automatic', wait => '0 s');
\echo :SQLSTATE
SELECT phase, epoch FROM orchestra_cluster();
ALTER SYSTEM RESET orchestra.secret_file;
SELECT pg_reload_conf();
DROP FUNCTION wait_for_board(), wait_for_secret(text);

-- The internal functions refuse what no committed epoch says.
SELECT orchestra_promote('1.1/1');
\echo :SQLSTATE
SELECT orchestra_promote('nonsense');
\echo :SQLSTATE
SELECT orchestra_repoint('1.1/1');
\echo :SQLSTATE
SELECT orchestra_record('k', now(), 'n1', 'detected', '1.1/1', 'n1', 'detail', NULL, NULL);
\echo :SQLSTATE
SELECT count(*) FROM orchestra_detection;

-- Nor is there anything that an operator could change.
SELECT orchestra_set_voters('{n1}');
\echo :SQLSTATE
SELECT orchestra_set_voters(NULL) IS NULL AS nothing;
SELECT orchestra_set_node('n1', true);
\echo :SQLSTATE
SELECT orchestra_set_node(NULL, true);
\echo :SQLSTATE
SELECT orchestra_remove_node('n1');
\echo :SQLSTATE
SELECT orchestra_failover();
\echo :SQLSTATE
SELECT orchestra_failover(accept_data_loss => true);
\echo :SQLSTATE
SELECT orchestra_failover(accept_data_loss => NULL);
\echo :SQLSTATE
SELECT orchestra_failover(confirm => 'word');
\echo :SQLSTATE
SELECT orchestra_failover(wait => '1 month');
\echo :SQLSTATE
SELECT orchestra_confirm_identity();
\echo :SQLSTATE
SELECT orchestra_set_mode('manual');
\echo :SQLSTATE
SELECT orchestra_set_mode('sometimes');
\echo :SQLSTATE
SELECT orchestra_set_mode('manual', wait => '-1 s');
\echo :SQLSTATE
SELECT orchestra_pause();
\echo :SQLSTATE
SELECT orchestra_resume();
\echo :SQLSTATE
SELECT orchestra_drop_cluster();
\echo :SQLSTATE
SELECT orchestra_set('lease_ttl_ms', '5000');
\echo :SQLSTATE
SELECT orchestra_set('nonsense', '5000');
\echo :SQLSTATE
SELECT orchestra_set('mode', 'manual');
\echo :SQLSTATE
SELECT orchestra_set('durability', 'async');
\echo :SQLSTATE
SELECT orchestra_set('durability', 'always');
\echo :SQLSTATE
SELECT orchestra_set('lease_ttl_ms', '299');
\echo :SQLSTATE
SELECT orchestra_set('lease_ttl_ms', '5 s');
\echo :SQLSTATE
SELECT orchestra_set('drift_permille', '251');
\echo :SQLSTATE
SELECT orchestra_set('on_no_sync', 'ignore');
\echo :SQLSTATE
SELECT orchestra_set('auto_voters', 'yes');
\echo :SQLSTATE
SELECT orchestra_set('sync_copies', '0');
\echo :SQLSTATE
SELECT orchestra_set('min_sync_copies', '32');
\echo :SQLSTATE
SELECT orchestra_set('sync_zone', 'same');
\echo :SQLSTATE
SELECT orchestra_set('max_failover_lag_bytes', 'much');
\echo :SQLSTATE
SELECT orchestra_set('max_failover_lag_bytes', '-1');
\echo :SQLSTATE
SELECT orchestra_set('max_failover_lag_bytes', '1PB');
\echo :SQLSTATE
SELECT orchestra_set(NULL, NULL) IS NULL AS nothing;

-- Settings of this node, and what orchestra would set; no cluster has any.
SELECT name, source, context, needs_restart, former_value FROM orchestra_settings();
SELECT name, value FROM orchestra_settings()
 WHERE name IN ('orchestra.database', 'orchestra.enabled', 'synchronous_standby_names',
                'primary_conninfo');

SELECT orchestra_former_value('primary_conninfo') IS NULL AS nothing;

-- Rights: the public may not even look, pg_monitor may look, the coordinator's role may call the
-- internal functions; nobody of them can change anything else.
CREATE ROLE regress_public;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE ROLE regress_orchestra;
SELECT orchestra_grant('regress_orchestra');
CREATE VIEW rights AS
SELECT r AS role, f.proname AS may_execute FROM pg_proc f JOIN pg_depend d ON d.objid = f.oid
  JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'orchestra' AND d.deptype = 'e'
  CROSS JOIN (VALUES ('regress_public'), ('regress_monitor'), ('regress_orchestra')) AS roles (r)
 WHERE has_function_privilege(r, f.oid, 'EXECUTE');
SELECT * FROM rights ORDER BY role, may_execute;
SELECT r AS role, t, p
  FROM (VALUES ('regress_public'), ('regress_monitor'), ('regress_orchestra')) AS roles (r),
       (VALUES ('orchestra_change'), ('orchestra_detection'), ('orchestra_lost_transaction'),
               ('orchestra_recovery'), ('orchestra_recovery_step')) AS x (t),
       (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS privileges (p)
 WHERE has_table_privilege(r, t, p) ORDER BY 1, 2, 3;
SET ROLE regress_public;
SELECT orchestra_create_cluster('{n1}', 'automatic');
\echo :SQLSTATE
SELECT count(*) FROM orchestra_status();
SELECT orchestra_promote('1.1/1');
\echo :SQLSTATE
SELECT orchestra_failover();
\echo :SQLSTATE
INSERT INTO orchestra_recovery (recovery, coordinator, epoch, started_at)
VALUES ('x', 'x', 'x', now());
RESET ROLE;
SET ROLE regress_monitor;
SELECT count(*) FROM orchestra_status();
SELECT count(*) FROM orchestra_recoveries();
SELECT count(*) > 10 AS settings FROM orchestra_settings();
SELECT orchestra_set_mode('manual');
\echo :SQLSTATE
SELECT orchestra_drop_cluster();
\echo :SQLSTATE
DELETE FROM orchestra_recovery_step;
RESET ROLE;
SET ROLE regress_orchestra;
SELECT orchestra_promote('1.1/1');
\echo :SQLSTATE
SELECT orchestra_record('k', now(), 'n1', 'detected', '1.1/1', 'n1', 'detail', NULL, NULL);
\echo :SQLSTATE
RESET ROLE;
-- Changing a cluster goes with EXECUTE; forming one does not.
GRANT EXECUTE ON FUNCTION orchestra_failover TO regress_public;
SET ROLE regress_public;
SELECT orchestra_failover();
\echo :SQLSTATE
RESET ROLE;
-- EXECUTE alone does not make a superuser.
GRANT EXECUTE ON FUNCTION orchestra_create_cluster TO regress_public;
SET ROLE regress_public;
SELECT orchestra_create_cluster('{n1}', 'automatic');
\echo :SQLSTATE
RESET ROLE;

DROP VIEW rights;
DROP OWNED BY regress_public, regress_monitor, regress_orchestra;
DROP ROLE regress_public, regress_monitor, regress_orchestra;
-- In a schema of its own, with nothing of it on the search path.
DROP EXTENSION orchestra;
CREATE SCHEMA "My Schema";
CREATE EXTENSION orchestra SCHEMA "My Schema";
SET search_path = pg_catalog;
CREATE ROLE regress_orchestra;
SELECT "My Schema".orchestra_grant('regress_orchestra');
SET ROLE regress_orchestra;
SELECT "My Schema".orchestra_promote('1.1/1');
\echo :SQLSTATE
RESET ROLE;
DROP OWNED BY regress_orchestra;
DROP ROLE regress_orchestra;
SELECT count(*) FROM "My Schema".orchestra_recoveries();
SELECT "My Schema".orchestra_record('k', now(), 'n1', 'detected', '1.1/1', 'n1', 'd', NULL, NULL);
\echo :SQLSTATE
DROP EXTENSION orchestra;
