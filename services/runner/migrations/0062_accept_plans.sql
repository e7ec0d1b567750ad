-- Its statements look up keys and ids, whatever the arrays hold, so one plan fits all calls. Postgres takes the arrays
-- for a reason to plan each of the statements anew at every call, which took six times as long as the call itself.
ALTER FUNCTION accept_runs SET plan_cache_mode = force_generic_plan;
