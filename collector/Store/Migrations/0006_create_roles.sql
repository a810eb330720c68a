-- petrel_ingest writes, petrel_query reads; the migrating role owns all and becomes either at will. Roles belong to the
-- whole server, so they may exist already; without CREATEROLE they are left out and the owner does all the work.

DO $$
DECLARE may_create boolean := (
    SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF may_create THEN
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
            CREATE ROLE petrel_ingest NOLOGIN;
            EXECUTE format('GRANT petrel_ingest TO %I', current_user);
        END IF;
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
            CREATE ROLE petrel_query NOLOGIN;
            EXECUTE format('GRANT petrel_query TO %I', current_user);
            ALTER ROLE petrel_query SET statement_timeout = '30s';
            ALTER ROLE petrel_query SET default_transaction_read_only = on;
        END IF;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT USAGE ON SCHEMA petrel TO petrel_ingest;
        GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA petrel TO petrel_ingest;
        GRANT DELETE ON petrel.alert TO petrel_ingest;
        REVOKE INSERT, UPDATE ON petrel.migration, petrel.incarnation FROM petrel_ingest;
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA petrel TO petrel_ingest;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA petrel TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT USAGE ON SCHEMA petrel TO petrel_query;
        GRANT SELECT ON ALL TABLES IN SCHEMA petrel TO petrel_query;
        REVOKE SELECT ON petrel.enrol_token FROM petrel_query;
        GRANT EXECUTE ON FUNCTION petrel.line_text(bytea) TO petrel_query;
    END IF;
END $$;
