-- A cluster of one: creation, the register in status, and the audit tables' rules. What is
-- recorded here is what a coordinator would send.
\set SHOW_CONTEXT never
CREATE EXTENSION orchestra;
SELECT current_setting('data_directory') || '/regress_secret' AS secret \gset
\setenv SECRET :secret
\! umask 077 && echo 'only for regression tests' > "$SECRET"
CREATE FUNCTION wait_for(wanted text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE found boolean;
BEGIN
    FOR i IN 1..600 LOOP
        EXECUTE 'SELECT ' || wanted INTO found;
        IF found THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RETURN false;
END $$;
-- How its monitor logs in to it; this server listens in a directory only.
SELECT 'host=' || current_setting('unix_socket_directories') AS way,
       current_database() AS database \gset
CREATE ROLE orchestra LOGIN;
SELECT orchestra_grant();
ALTER SYSTEM SET orchestra.conninfo = :'way';
ALTER SYSTEM SET orchestra.database = :'database';
ALTER SYSTEM SET orchestra.secret_file = :'secret';
SELECT pg_reload_conf();
\c -
SELECT wait_for($$current_setting('orchestra.secret_file') <> ''$$);
SELECT wait_for($$EXISTS (SELECT FROM orchestra_status()
                           WHERE state = 'unconfigured' AND address LIKE '/%')$$);

-- The consensus worker learns of the secret by the same reload, a little earlier or later.
SELECT name AS self FROM orchestra_status() WHERE source = 'self' \gset
SELECT orchestra_create_cluster(ARRAY[:'self'], 'automatic')
       LIKE 'cluster "orchestra" formed, epoch 1.1/1, primary %' AS formed;
-- The board follows within its period.
SELECT wait_for($$EXISTS (SELECT FROM orchestra_status() WHERE state = 'open')$$);

SELECT id, name = :'self' AS named, role, state, timeline, lag_bytes, sync_state, voter,
       coordinator, lease_ms_left > 0 AS leased, fenced, source
  FROM orchestra_status();
SELECT name, length(cluster_id) AS cluster_id, phase, epoch, active,
       primary_node = :'self' AS primary,
       coordinator = :'self' AS coordinator, voters = ARRAY[:'self'] AS voters, majority,
       reachable_voters, durability, sync_nodes, sync_k, lease_ttl_ms, mode, paused,
       voters_changing, on_no_sync, auto_voters, drift_permille, former_clusters, dropped
  FROM orchestra_cluster();
SELECT code, action FROM orchestra_analysis() WHERE source = 'rules';
SELECT orchestra_create_cluster(ARRAY[:'self'], 'automatic');
\echo :SQLSTATE

-- What a cluster of one refuses an operator.
SELECT orchestra_set_voters(ARRAY[:'self']) = 'voters are ' || :'self' || ' for good' AS same;
SELECT orchestra_set_voters(ARRAY[:'self', 'n2']);
\echo :SQLSTATE
SELECT orchestra_set_voters('{n2}');
\echo :SQLSTATE
SELECT orchestra_set_voters('{}');
\echo :SQLSTATE
SELECT orchestra_set_node('n2', true);
\echo :SQLSTATE
SELECT orchestra_set_node(:'self');
\echo :SQLSTATE
SELECT orchestra_remove_node('n2');
\echo :SQLSTATE
SELECT orchestra_remove_node(:'self');
\echo :SQLSTATE
SELECT orchestra_failover('n2');
\echo :SQLSTATE
SELECT orchestra_failover(accept_data_loss => true);
\echo :SQLSTATE
SELECT orchestra_failover('n2', accept_data_loss => true);
\echo :SQLSTATE
SELECT orchestra_failover(confirm => 'word');
\echo :SQLSTATE
SELECT orchestra_confirm_identity();
\echo :SQLSTATE

-- Writes are let in.
CREATE TABLE kept AS SELECT 1 AS one;
DROP TABLE kept;

-- Settings of the cluster, from here and back.
SELECT orchestra_set('lease_ttl_ms', '5000');
SELECT orchestra_set('lease_ttl_ms', '2000');
SELECT orchestra_set('drift_permille', '50');
SELECT orchestra_set('drift_permille', '100');
SELECT orchestra_set('on_no_sync', 'degrade');
SELECT orchestra_set('auto_voters', 'on');
SELECT orchestra_set('durability', 'quorum');
SELECT orchestra_set('durability', 'async');
SELECT orchestra_set('sync_copies', '2');
SELECT orchestra_set('min_sync_copies', '2');
SELECT orchestra_set('sync_copies', '1');
\echo :SQLSTATE
SELECT orchestra_set('sync_zone', 'other');
\echo :SQLSTATE
SELECT orchestra_set('max_failover_lag_bytes', '16MB');
SELECT orchestra_set('max_failover_lag_bytes', '0');
SELECT orchestra_set_node(:'self', zone => 'north') = :'self' || ' is in zone north' AS same;
SELECT orchestra_set_node(:'self', zone => repeat('n', 64));
\echo :SQLSTATE
SELECT zone FROM orchestra_status();
SELECT orchestra_set_node(:'self', true, '') AS both \gset
SELECT :'both' = :'self' || ' may be counted for commits; ' || :'self' || ' is in no zone' AS same;
SELECT lease_ttl_ms, drift_permille, on_no_sync, auto_voters, durability, sync_copies,
       min_sync_copies, sync_zone, max_failover_lag_bytes FROM orchestra_cluster();
SELECT orchestra_pause();
SELECT paused FROM orchestra_cluster();
SELECT name, value, context, needs_restart, former_value FROM orchestra_settings()
 WHERE source = 'cluster';
SELECT orchestra_resume();
SELECT orchestra_set('on_no_sync', 'refuse');
SELECT orchestra_set('auto_voters', 'off');
SELECT orchestra_set('min_sync_copies', '1');
SELECT orchestra_set('sync_copies', '1');
SELECT orchestra_set('durability', 'quorum');
SELECT paused, on_no_sync, auto_voters FROM orchestra_cluster();

-- The modes. In observe nothing is gated.
SELECT orchestra_set_mode('manual');
SELECT orchestra_set_mode('observe');
SELECT mode, sync_nodes, sync_k FROM orchestra_cluster();
SELECT wait_for($$EXISTS (SELECT FROM orchestra_status() WHERE state = 'open')$$);
SELECT orchestra_failover();
\echo :SQLSTATE
CREATE TABLE kept AS SELECT 1 AS one;
DROP TABLE kept;
SELECT orchestra_set_mode('observe');
SELECT orchestra_set_mode('automatic');
CREATE TABLE kept AS SELECT 1 AS one;
DROP TABLE kept;
SELECT mode FROM orchestra_cluster();

-- The committed epoch and nothing else.
SELECT orchestra_promote('1.1/1');
SELECT orchestra_promote('2.1/2');
\echo :SQLSTATE
SELECT orchestra_repoint('1.1/1');
\echo :SQLSTATE

-- Recording: once, in order, of committed epochs only.
SELECT orchestra_record('n2@1#1', '2000-01-01 00:00:01Z', 'n2', 'detected', '1.1/1', 'n1',
                        'DeadPrimary: primary unreachable', 'failover', '0.1/1');
SELECT orchestra_record('n2@1#1', '2000-01-01 00:00:01Z', 'n2', 'detected', '1.1/1', 'n1',
                        'DeadPrimary: primary unreachable', 'failover', '0.1/1');
SELECT orchestra_record('n2@1#2', '2000-01-01 00:00:02Z', 'n2', 'failover_blocked', '1.1/1', NULL,
                        'waits', NULL, '0.1/1');
SELECT outcome FROM orchestra_recoveries();
SELECT orchestra_record('n2@1#3', '2000-01-01 00:00:03Z', 'n2', 'candidate_chosen', '1.1/1', 'n3',
                        'highest', NULL, '0.1/1');
SELECT outcome FROM orchestra_recoveries();
SELECT orchestra_record('n2@1#4', '2000-01-01 00:00:04Z', 'n2', 'epoch_committed', '1.1/1', 'n3',
                        'accepted by a majority of voters', 'it leaves recovery', '0.1/1');
SELECT outcome, new_epoch, new_primary FROM orchestra_recoveries();
SELECT orchestra_record('n2@1#4b', '2000-01-01 00:00:04.5Z', 'n2', 'activated', '1.1/1', 'n3',
                        'timeline 2', NULL, '0.1/1');
SELECT outcome FROM orchestra_recoveries();
SELECT orchestra_record('n2@1#5', '2000-01-01 00:00:05Z', 'n2', 'recovered', '1.1/1', 'n3',
                        'every standby follows', NULL, '0.1/1');
-- A late repetition changes nothing.
SELECT orchestra_record('n2@1#2', '2000-01-01 00:00:02Z', 'n2', 'failover_blocked', '1.1/1', NULL,
                        'waits', NULL, '0.1/1');
-- A detection without a recovery.
SELECT orchestra_record('n2@1#6', '2000-01-01 00:00:06Z', 'n2', 'detected', '1.1/1', 'n1',
                        'StandbyNotReplicating: 1 of 2', 'detect', NULL);
-- A change of the register.
SELECT orchestra_record('n2@1#6b', '2000-01-01 00:00:06.5Z', 'n2', 'register_changed', '1.1/1', NULL,
                        'mode manual, asked for on n3', 'version 7', NULL);
SET timezone = 'UTC';
-- What a former primary lost, told with more, and with less when its WAL is gone.
SELECT orchestra_record_loss('n1 lost 1.1/1 1+0', '2000-01-01 00:00:07Z', 'n1', '1.1/1', '80 bytes',
                             NULL, '{4294967300}', '{commit}', '{2000-01-01 00:00:00.5Z}',
                             '{0/3000060}');
SELECT orchestra_record_loss('n1 lost 1.1/1 2+0', '2000-01-01 00:00:08Z', 'n1', '1.1/1', '160 bytes',
                             'save them', '{4294967300,4294967301}', '{commit,commit prepared}',
                             '{2000-01-01 00:00:00.5Z,2000-01-01 00:00:00.6Z}',
                             '{0/3000060,0/30000B0}');
SELECT orchestra_record_loss('n1 lost 1.1/1 0+0', '2000-01-01 00:00:09Z', 'n1', '1.1/1', '240 bytes',
                             NULL, '{}', '{}', '{}', '{}');
SELECT orchestra_record_loss('n1 lost 1.1/99 0+0', now(), 'n1', '1.1/99', 'x', NULL, '{}', '{}', '{}',
                             '{}');
\echo :SQLSTATE
SELECT step, at, coordinator, kind, node, detail, next FROM orchestra_recovery_steps('1.1/1')
 WHERE kind = 'loss_measured';
SELECT * FROM orchestra_lost_transaction ORDER BY lsn;
DELETE FROM orchestra_recovery WHERE recovery = '1.1/1';
SELECT count(*) FROM orchestra_lost_transaction;
-- Not committed, and no epoch at all.
SELECT orchestra_record('n2@1#7', now(), 'n2', 'detected', '1.1/99', 'n1', 'x', NULL, NULL);
\echo :SQLSTATE
SELECT orchestra_record('n2@1#7', now(), 'n2', 'detected', 'epoch', 'n1', 'x', NULL, NULL);
\echo :SQLSTATE
SELECT * FROM orchestra_recoveries();
SELECT * FROM orchestra_recovery_steps('0.1/1');
SELECT * FROM orchestra_detection ORDER BY key;
SELECT * FROM orchestra_change WHERE coordinator = 'n2';

-- The login that records needs no right on the tables.
CREATE ROLE regress_orchestra;
GRANT EXECUTE ON FUNCTION orchestra_record TO regress_orchestra;
SET ROLE regress_orchestra;
SELECT orchestra_record('n2@1#8', '2000-01-01 00:00:08Z', 'n2', 'detected', '1.1/1', 'n1', 'x',
                        NULL, NULL);
SELECT count(*) FROM orchestra_detection;
RESET ROLE;
SELECT count(*) FROM orchestra_detection;
DROP OWNED BY regress_orchestra;
DROP ROLE regress_orchestra;

-- The extension of a cluster stays, in the database that the cluster uses; the cluster can go.
DROP EXTENSION orchestra;
\echo :SQLSTATE
DROP EXTENSION IF EXISTS nothing_of_that_name;
SELECT orchestra_drop_cluster(wait => '-1 s');
\echo :SQLSTATE
SELECT orchestra_drop_cluster();
SELECT name, phase, mode FROM orchestra_cluster();
SELECT wait_for($$EXISTS (SELECT FROM orchestra_status() WHERE role = 'primary')$$);
SELECT id, state, role FROM orchestra_status();
SELECT name, value, former_value FROM orchestra_settings() WHERE source <> 'node';
SELECT orchestra_drop_cluster();
\echo :SQLSTATE
CREATE TABLE kept AS SELECT 1 AS one;
DROP TABLE kept;

-- And come back.
SELECT orchestra_create_cluster(ARRAY[:'self'], 'observe', name => 'again', lease_ttl_ms => 600)
       LIKE 'cluster "again" formed, epoch 1.1/1, primary %' AS formed;
SELECT name, mode, active, sync_k, lease_ttl_ms FROM orchestra_cluster();
CREATE TABLE kept AS SELECT 1 AS one;
DROP TABLE kept;
SELECT orchestra_drop_cluster();
ALTER SYSTEM RESET orchestra.conninfo;
ALTER SYSTEM RESET orchestra.database;
ALTER SYSTEM RESET orchestra.secret_file;
SELECT pg_reload_conf();
DROP FUNCTION wait_for(text);
DROP OWNED BY orchestra;
DROP ROLE orchestra;
DROP EXTENSION orchestra;
