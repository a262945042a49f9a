-- Preflight of a single node: what is looked at, and what is said when its monitor cannot log in.
\set SHOW_CONTEXT never
CREATE EXTENSION orchestra;
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

-- The server listens in a directory only.
SELECT 'host=' || current_setting('unix_socket_directories') AS way,
       current_database() AS database \gset
ALTER SYSTEM SET orchestra.conninfo = :'way';
ALTER SYSTEM SET orchestra.database = :'database';
SELECT pg_reload_conf();
\c -
\set SHOW_CONTEXT never
SELECT wait_for($$EXISTS (SELECT FROM orchestra_status()
                           WHERE state = 'unconfigured' AND address LIKE '/%')$$);
SELECT name AS self FROM orchestra_status() \gset

-- No role yet, then no right, then all is told.
CREATE VIEW seen AS
SELECT severity, item, replace(found, current_setting('data_directory'), 'DATA') AS found,
       regexp_replace(fix, ' (on|of) /\S+:\d+:', ' \1 NODE:', 'g') AS fix
  FROM orchestra_check() WHERE severity IN ('error', 'warning') AND item <> 'disk';
SELECT item, fix FROM seen;
CREATE ROLE orchestra LOGIN;
SELECT * FROM seen;
SELECT orchestra_grant();
SELECT * FROM seen;
SELECT severity, node = :'self' AS here, peer = :'self' AS to_itself, item, fix IS NULL AS well
  FROM orchestra_check() WHERE item <> 'disk';

-- A node that is named and was never heard; one that is named twice; none.
SELECT severity, node, item, replace(found, :'self', 'NODE') AS found
  FROM orchestra_check('{nowhere}') WHERE severity = 'error';
SELECT severity, item, found FROM orchestra_check(ARRAY[:'self', :'self'])
 WHERE severity = 'error' AND item = 'name';
SELECT severity, item, found FROM orchestra_check('{}');
SELECT * FROM orchestra_check('{n1,null}');
\echo :SQLSTATE

-- Facts hold no value that may hide a password.
SELECT count(*) FROM orchestra_facts() WHERE name = 'primary_conninfo' AND value LIKE '%=%';

DROP VIEW seen;
ALTER SYSTEM RESET orchestra.conninfo;
ALTER SYSTEM RESET orchestra.database;
SELECT pg_reload_conf();
DROP FUNCTION wait_for(text);
DROP OWNED BY orchestra;
DROP ROLE orchestra;
DROP EXTENSION orchestra;
