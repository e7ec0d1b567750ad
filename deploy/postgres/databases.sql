-- A service owns its database; no other reads it.
CREATE DATABASE runner;
CREATE DATABASE oracle_gate;
CREATE DATABASE module_gate;
