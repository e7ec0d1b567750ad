-- How many of a run's last failures were defects of a release. What is away is waited for; a run that meets too many
-- defects, one after the other, goes to an operator. Only as many count as there are failures: whoever sets `failures`
-- to 0 begins to count both anew.
ALTER TABLE runs ADD COLUMN defects integer NOT NULL DEFAULT 0;
